//! Memory for the pixels of whole images.

/// A vector of `count` zeros, in large pages where they are many.
///
/// Linux hands memory out page by page, 4 kB each, at the first write to a page: thousands of times for
/// an image, which takes a tenth of the time of all work on the image. On request Linux gives pages of 2 MB.
pub(crate) fn zeros<T: Copy + Default>(count: usize) -> Vec<T> {
    // The standard library leaves it to the system to clear the memory.
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

    /// A multiple of every page size of the system but the large one.
    const ALIGNED: usize = 1 << 16;
    /// Least number of bytes that are worth the call.
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
    // An error says that there are no large pages: then all is as before.
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
