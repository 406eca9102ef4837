//! The header of a `.npy` file: a Python dictionary of type, order and shape, in a text that is padded
//! with blanks (NEP 1, <https://numpy.org/neps/nep-0001-npy-format.html>).

/// Contents of a header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Header {
    /// Type of the elements: `<f4`; a structured type as the file writes it, in Python.
    pub(super) descriptor: String,
    /// Whether the first axis is the fastest.
    pub(super) is_fortran: bool,
    /// Length of each axis.
    pub(super) shape: Vec<usize>,
}

/// Length of everything before the data, bytes, and the place of the header's text; `None` for a file
/// that is no `.npy` file.
pub(super) fn extent(start: &[u8]) -> Option<(usize, usize)> {
    let rest = start.strip_prefix(b"\x93NUMPY")?;
    let (prefix, length) = match *rest {
        [1, _, a, b, ..] => (10, usize::from(u16::from_le_bytes([a, b]))),
        [2 | 3, _, a, b, c, d, ..] => (12, u32::from_le_bytes([a, b, c, d]) as usize),
        _ => return None,
    };
    Some((length.checked_add(prefix)?, prefix))
}

/// The start of a file with an array of this type and shape, in C order; the data begin at a multiple of
/// 64 bytes.
pub(super) fn write(descriptor: &str, shape: &[usize]) -> Vec<u8> {
    const ALIGNMENT: usize = 64;
    const PREFIX: usize = 10;
    let axes: String = shape.iter().map(|axis| format!("{axis}, ")).collect();
    let mut text =
        format!("{{'descr': '{descriptor}', 'fortran_order': False, 'shape': ({axes}), }}");
    let length = (PREFIX + text.len() + 1).next_multiple_of(ALIGNMENT) - PREFIX;
    text.push_str(&" ".repeat(length - text.len() - 1));
    text.push('\n');
    let mut start = b"\x93NUMPY\x01\x00".to_vec();
    start.extend((length as u16).to_le_bytes());
    start.extend(text.as_bytes());
    start
}

impl Header {
    /// Parses the text of a header.
    ///
    /// # Errors
    ///
    /// A description of the text that was found instead.
    pub(super) fn parse(text: &[u8]) -> Result<Self, String> {
        let text = String::from_utf8_lossy(text);
        let mut rest = Text(&text);
        rest.expect("{")?;
        let (mut descriptor, mut order, mut shape) = (None, None, None);
        while !rest.takes("}") {
            let key = rest.string()?;
            rest.expect(":")?;
            match key {
                "descr" if rest.next() == Some('[') => descriptor = Some(rest.bracketed()?),
                "descr" => descriptor = Some(rest.string()?),
                "fortran_order" => order = Some(rest.truth()?),
                "shape" => shape = Some(rest.numbers()?),
                other => return Err(format!("the key {other:?}")),
            }
            if !rest.takes(",") && rest.next() != Some('}') {
                return Err(rest.found());
            }
        }
        if rest.next().is_some() {
            return Err(rest.found());
        }
        let lacks = |key: &str| format!("no key {key:?}");
        Ok(Self {
            descriptor: descriptor.ok_or_else(|| lacks("descr"))?.to_owned(),
            is_fortran: order.ok_or_else(|| lacks("fortran_order"))?,
            shape: shape.ok_or_else(|| lacks("shape"))?,
        })
    }
}

/// The rest of a text in Python.
struct Text<'a>(&'a str);

impl<'a> Text<'a> {
    /// The next letter that is no blank.
    fn next(&mut self) -> Option<char> {
        self.0 = self.0.trim_start_matches([' ', '\t', '\n', '\r', '\0']);
        self.0.chars().next()
    }

    /// Skips `word` if `word` comes next, and returns whether it does.
    fn takes(&mut self, word: &str) -> bool {
        self.next();
        let rest = self.0.strip_prefix(word);
        self.0 = rest.unwrap_or(self.0);
        rest.is_some()
    }

    fn expect(&mut self, word: &str) -> Result<(), String> {
        match self.takes(word) {
            true => Ok(()),
            false => Err(self.found()),
        }
    }

    /// A description of the next part of the text, for an error.
    fn found(&mut self) -> String {
        match self.next() {
            None => "its end".into(),
            Some(_) => format!("{:?}", self.0.chars().take(20).collect::<String>()),
        }
    }

    /// Takes the first `length` bytes.
    fn take(&mut self, length: usize) -> &'a str {
        let (taken, rest) = self.0.split_at(length);
        self.0 = rest;
        taken
    }

    /// Takes a string; strings of headers have no escapes.
    fn string(&mut self) -> Result<&'a str, String> {
        let quote = self.next().filter(|letter| "'\"".contains(*letter));
        let end = quote.and_then(|quote| self.0[1..].find(quote));
        let Some(end) = end else {
            return Err(self.found());
        };
        Ok(&self.take(end + 2)[1..=end])
    }

    /// Takes brackets with their contents.
    fn bracketed(&mut self) -> Result<&'a str, String> {
        let mut depth = 0_usize;
        for (at, letter) in self.0.char_indices() {
            match letter {
                '[' | '(' | '{' => depth += 1,
                ']' | ')' | '}' => depth = depth.saturating_sub(1),
                _ => {}
            }
            if depth == 0 {
                return Ok(self.take(at + letter.len_utf8()));
            }
        }
        Err("brackets that do not close".into())
    }

    fn truth(&mut self) -> Result<bool, String> {
        match (self.takes("True"), self.takes("False")) {
            (true, false) => Ok(true),
            (false, true) => Ok(false),
            _ => Err(self.found()),
        }
    }

    /// Takes a tuple of whole numbers. Python 2 wrote an L behind long numbers.
    fn numbers(&mut self) -> Result<Vec<usize>, String> {
        self.expect("(")?;
        let mut numbers = Vec::new();
        while !self.takes(")") {
            self.next();
            let digits = self.0.bytes().take_while(u8::is_ascii_digit).count();
            let Ok(number) = self.0[..digits].parse() else {
                return Err(self.found());
            };
            self.take(digits);
            self.takes("L");
            numbers.push(number);
            if !self.takes(",") && self.next() != Some(')') {
                return Err(self.found());
            }
        }
        Ok(numbers)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_numpy_writes_is_read() {
        for (text, descriptor, is_fortran, shape) in [
            (
                "{'descr': '<f4', 'fortran_order': False, 'shape': (10, 15, 15), }   \n",
                "<f4",
                false,
                &[10, 15, 15][..],
            ),
            (
                "{\"shape\":(7L,),\"descr\":\"|u1\",\"fortran_order\":True}",
                "|u1",
                true,
                &[7],
            ),
            (
                "{'descr': '<f8', 'fortran_order': False, 'shape': (), }",
                "<f8",
                false,
                &[],
            ),
            (
                "{'descr': [('a', '<f4'), ('b', '<i2', (3,))], 'fortran_order': False, 'shape': (3,)}",
                "[('a', '<f4'), ('b', '<i2', (3,))]",
                false,
                &[3],
            ),
        ] {
            let header = Header::parse(text.as_bytes()).unwrap();
            let expected = Header {
                descriptor: descriptor.into(),
                is_fortran,
                shape: shape.to_vec(),
            };
            assert_eq!(header, expected, "{text}");
        }
    }

    #[test]
    fn what_is_written_is_read() {
        for shape in [&[1, 1, 1][..], &[123_456, 789, 1_000], &[]] {
            let start = write("<f4", shape);
            let (length, text) = extent(&start).unwrap();
            assert_eq!((length, length % 64), (start.len(), 0));
            let header = Header::parse(&start[text..]).unwrap();
            assert_eq!(
                (header.descriptor.as_str(), header.is_fortran),
                ("<f4", false)
            );
            assert_eq!(header.shape, shape);
        }
    }

    #[test]
    fn anything_else_says_what_was_found() {
        for (text, found) in [
            ("", "its end"),
            ("[1]", "\"[1]\""),
            ("{'descr': '<f4'", "its end"),
            ("{'descr': '<f4}", "\"'<f4}\""),
            ("{'descr': [[[", "brackets that do not close"),
            (
                "{'descr': '<f4', 'fortran_order': False}",
                "no key \"shape\"",
            ),
            ("{'fortran_order': 0", "\"0\""),
            ("{'shape': (-1,)}", "\"-1,)}\""),
            (
                "{'shape': (99999999999999999999,)}",
                "\"99999999999999999999\"",
            ),
            ("{'shape': (1 2)}", "\"2)}\""),
            ("{'shape': (1,) 'descr': 'x'}", "\"'descr': 'x'}\""),
            ("{'ä': 1}", "the key \"ä\""),
            (
                "{'descr': '<f4', 'fortran_order': False, 'shape': ()} {",
                "\"{\"",
            ),
        ] {
            assert_eq!(Header::parse(text.as_bytes()).unwrap_err(), found, "{text}");
        }
        assert!(Header::parse(b"{'descr': \xff}").is_err());
        for start in [
            &b""[..],
            b"\x93NUMPY",
            b"\x93NUMPY\x04\x00\x01\x00\x00\x00",
            b"PK\x03\x04",
        ] {
            assert_eq!(extent(start), None);
        }
    }
}
