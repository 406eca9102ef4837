use super::*;

/// A file as numpy writes it.
fn npy(descriptor: &str, fortran: bool, shape: &str, data: &[u8]) -> tempfile::NamedTempFile {
    let order = if fortran { "True" } else { "False" };
    let mut header =
        format!("{{'descr': {descriptor}, 'fortran_order': {order}, 'shape': {shape}, }}");
    while (header.len() + 11) % 64 != 0 {
        header.push(' ');
    }
    header.push('\n');
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend((header.len() as u16).to_le_bytes());
    bytes.extend(header.as_bytes());
    bytes.extend(data);
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(&file, bytes).unwrap();
    file
}

#[test]
fn every_type_and_byte_order() {
    macro_rules! check {
        ($type:ty, $code:literal) => {
            let values: [$type; 6] = [0, 1, 2, 100, 127, 5].map(|v: u8| v as $type);
            let wanted = values.map(|v| v as f64);
            let big: Vec<u8> = values.iter().flat_map(|v| v.to_be_bytes()).collect();
            let little: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
            for (order, data) in [(">", &big), ("<", &little)] {
                let descriptor = format!("'{order}{}'", $code);
                let file = npy(&descriptor, false, "(1, 2, 3)", data);
                let stack = read_stack(&file).unwrap();
                assert_eq!(stack.dim(), (1, 2, 3));
                assert!(stack.iter().eq(&wanted), "{descriptor}");
            }
            if size_of::<$type>() > 1 {
                let swapped = npy(concat!("'<", $code, "'"), false, "(1, 2, 3)", &big);
                assert!(!read_stack(&swapped).unwrap().iter().eq(&wanted));
            }
        };
    }
    check!(u8, "u1");
    check!(u16, "u2");
    check!(u32, "u4");
    check!(u64, "u8");
    check!(i8, "i1");
    check!(i16, "i2");
    check!(i32, "i4");
    check!(i64, "i8");
    check!(f32, "f4");
    check!(f64, "f8");
    let minus = read_stack(npy("'<i2'", false, "(1, 1)", &(-3_i16).to_le_bytes())).unwrap();
    assert_eq!(minus[[0, 0, 0]], -3.0);
    let truth = read_stack(npy("'|b1'", false, "(1, 3)", &[0, 1, 0])).unwrap();
    assert!(truth.iter().eq(&[0.0, 1.0, 0.0]));
}

#[test]
fn fortran_order_and_single_cutouts() {
    let data: Vec<u8> = (0..24).collect();
    let c = read_stack(npy("'|u1'", false, "(2, 3, 4)", &data)).unwrap();
    let f = read_stack(npy("'|u1'", true, "(2, 3, 4)", &data)).unwrap();
    assert_eq!(c[[1, 2, 0]], f64::from(12 + 8));
    assert_eq!(f[[1, 2, 0]], f64::from(1 + 2 * 2));
    assert!(f.is_standard_layout());
    let one = read_stack(npy("'|u1'", false, "(4, 6)", &data)).unwrap();
    assert_eq!(one.dim(), (1, 4, 6));
    let one = read_stack(npy("'|u1'", true, "(4, 6)", &data)).unwrap();
    assert_eq!((one[[0, 1, 0]], one[[0, 0, 1]]), (1.0, 4.0));
}

#[test]
fn cutouts_are_read_by_position() {
    let data: Vec<u8> = (0..120_u16).flat_map(u16::to_be_bytes).collect();
    for fortran in [false, true] {
        let file = npy("'>u2'", fortran, "(10, 3, 4)", &data);
        let (whole, stack) = (read_stack(&file).unwrap(), NpyStack::open(&file).unwrap());
        assert_eq!(stack.dim(), (10, 3, 4));
        // In any order.
        for range in [7..10, 0..1, 2..7, 4..4, 0..10] {
            let block = stack.read(range.clone()).unwrap();
            assert_eq!(block, whole.slice(s![range, .., ..]));
        }
        for range in [9..11, 11..12, usize::MAX - 1..usize::MAX] {
            assert!(matches!(stack.read(range), Err(Error::Option { .. })));
        }
    }
}

#[test]
fn a_file_that_becomes_shorter_is_an_error() {
    let file = npy("'|u1'", false, "(10, 3, 4)", &[1; 120]);
    let stack = NpyStack::open(&file).unwrap();
    file.as_file().set_len(150).unwrap();
    assert!(stack.read(0..1).is_ok());
    assert!(matches!(stack.read(9..10), Err(Error::Io { .. })));
}

#[test]
fn not_finite_is_missing() {
    let values = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 1.0];
    let data: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
    let stack = read_stack(npy("'<f4'", false, "(1, 2, 2)", &data)).unwrap();
    let nan: Vec<bool> = stack.iter().map(|v| v.is_nan()).collect();
    assert_eq!(nan, [true, true, true, false]);
}

#[test]
fn arrays_that_are_no_stack() {
    let refused = |descriptor, shape, bytes| {
        let file = npy(descriptor, false, shape, &vec![0; bytes]);
        let path = file.path().display().to_string();
        let e = read_stack(&file).unwrap_err();
        e.to_string().replace(&path, "a.npy")
    };
    insta::assert_snapshot!(
        refused("'<f4'", "(12,)", 48),
        @"a.npy: shape: expected (n, height, width), found (12,)"
    );
    insta::assert_snapshot!(
        refused("'<f4'", "(1, 2, 3, 4)", 96),
        @"a.npy: shape: expected (n, height, width), found (1, 2, 3, 4)"
    );
    insta::assert_snapshot!(
        refused("'<c8'", "(1, 2, 3)", 48),
        @"a.npy: element type <c8 is not supported"
    );
    insta::assert_snapshot!(
        refused("'<f4'", "(1, 2, 3)", 23),
        @"a.npy: data: expected 24 bytes of pixels, found 23"
    );
    insta::assert_snapshot!(
        refused("'<f8'", "(4294967296, 4294967296, 3)", 23),
        @"a.npy: shape: expected fewer pixels, found (4294967296, 4294967296, 3)"
    );
    insta::assert_snapshot!(
        refused("'<f8'", "(1000000000, 1000000, 1)", 23),
        @"a.npy: data: expected 8000000000000000 bytes of pixels, found 23"
    );
    insta::assert_snapshot!(
        refused("'<f4'", "(0, 2, 3)", 0),
        @"a.npy: shape: expected at least one pixel, found (0, 2, 3)"
    );
    for descriptor in ["'<f2'", "'|b2'", "[('a', '<f4')]", "'<f4", "'|O'", "''"] {
        refused(descriptor, "(1, 1, 1)", 64);
    }
    let nested = format!("({}", "(".repeat(5000));
    refused("'<f4'", &nested, 64);
}

#[test]
fn cut_anywhere() {
    let whole = std::fs::read(npy("'<f4'", false, "(1, 2, 3)", &[0; 24])).unwrap();
    for length in 0..whole.len() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(&file, &whole[..length]).unwrap();
        assert!(read_stack(&file).is_err(), "{length}");
    }
}

#[test]
fn written_stacks_come_back() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.npy");
    let stack = Array3::from_shape_fn((3, 4, 5), |(n, y, x)| (100 * n + 10 * y + x) as f32);
    write_stack(&path, &stack).unwrap();
    assert_eq!(read_stack(&path).unwrap(), stack.mapv(f64::from));
    let turned = stack.clone().reversed_axes();
    write_stack(&path, &turned).unwrap();
    let read = read_stack(&path).unwrap();
    assert_eq!(read, turned.mapv(f64::from));
    assert_eq!(read.dim(), (5, 4, 3));
}
