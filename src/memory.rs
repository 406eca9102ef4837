//! Memory for the pixels of whole images.

/// So many zeros, in large pages where they are many.
///
/// Linux hands memory out page by page, 4 kB each, as it is first written to: thousands of times for an image,
/// which takes a tenth of all that is done with it. It has pages of 2 MB for those who ask.
pub(crate) fn zeros<T: Copy + Default>(count: usize) -> Vec<T> {
    // The standard library leaves to the system to clear them.
    let zeros = vec![T::default(); count];
    #[cfg(target_os = "linux")]
    ask_for_large_pages(&zeros);
    zeros
}

/// Asks for large pages for memory that nothing has been written to.
#[cfg(target_os = "linux")]
#[expect(
    unsafe_code,
    reason = "the advice is a system call on a range of addresses"
)]
fn ask_for_large_pages<T>(values: &[T]) {
    use rustix::mm::{Advice, madvise};

    /// Every page size of the system divides it, but that of large pages.
    const ALIGNED: usize = 1 << 16;
    /// Less is not worth the call.
    const LEAST: usize = 4 << 20;
    let bytes = size_of_val(values);
    if bytes < LEAST {
        return;
    }
    let start = values.as_ptr().cast::<u8>();
    let before = start.align_offset(ALIGNED);
    let Some(length) = bytes.checked_sub(before) else {
        return;
    };
    let length = length / ALIGNED * ALIGNED;
    // SAFETY: the range lies within `values`, and this advice changes no byte and no right of access.
    // Without large pages, which is what an error says, all is as before.
    let _ = unsafe {
        madvise(
            start.wrapping_add(before).cast_mut().cast(),
            length,
            Advice::LinuxHugepage,
        )
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_and_many_zeros_are_zeros() {
        for count in [0, 1, 1000, (4 << 20) / 8, (9 << 20) / 8 + 3] {
            let mut values = zeros::<f64>(count);
            assert_eq!(values.len(), count);
            assert!(values.iter().all(|&value| value == 0.0));
            values.iter_mut().for_each(|value| *value = 1.0);
            assert!(values.iter().all(|&value| value == 1.0));
        }
    }
}
