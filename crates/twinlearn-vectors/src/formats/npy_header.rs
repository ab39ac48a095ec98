//! The header of a `.npy` file.
//!
//! Our own few lines, because they run on untrusted bytes: the crates looked at allocate what a
//! lying header asks for or overflow on its shape. Format: NumPy's NEP 1, versions 1.0 to 3.0.

/// The part of a header that readers here need.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NpyHeader {
    /// NumPy's type string, e.g. `<f4`.
    pub(crate) descr: String,
    pub(crate) fortran_order: bool,
    pub(crate) shape: Vec<usize>,
    /// Where the data begin.
    pub(crate) data_start: usize,
}

const MAGIC: &[u8] = b"\x93NUMPY";

impl NpyHeader {
    /// Reads a header from the start of a file. The error says what came instead.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, String> {
        let rest = bytes.strip_prefix(MAGIC).ok_or("a file of another kind")?;
        let (len_bytes, major) = match rest.first() {
            Some(1) => (2, 1),
            Some(&major @ (2 | 3)) => (4, major),
            Some(v) => return Err(format!("version {v} of the format")),
            None => return Err("a file cut off in its header".into()),
        };
        let cut = || format!("a version {major} file cut off in its header");
        let len = rest.get(2..2 + len_bytes).ok_or_else(cut)?;
        let len = len.iter().rev().fold(0usize, |n, &b| n << 8 | usize::from(b));
        let data_start = MAGIC.len() + 2 + len_bytes + len;
        let text = bytes.get(data_start - len..data_start).ok_or_else(cut)?;
        let text = std::str::from_utf8(text).map_err(|_| "a header that is not text")?;
        let mut parser = Parser { rest: text };
        let (descr, fortran_order, shape) =
            parser.dict().ok_or_else(|| format!("the header {:?}", text.trim_end()))?;
        Ok(Self { descr, fortran_order, shape, data_start })
    }

    /// A version 1.0 header for C-order data, padded so that the data begin at a multiple of 64.
    pub(crate) fn write(descr: &str, shape: &[usize]) -> Vec<u8> {
        let mut dims: String = shape.iter().map(|n| format!("{n}, ")).collect();
        if shape.len() > 1 {
            dims.truncate(dims.len() - 2);
        }
        let dims = dims.trim_end();
        let dict = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': ({dims}), }}");
        let total = (MAGIC.len() + 4 + dict.len() + 1).next_multiple_of(64);
        let len = total - MAGIC.len() - 4;
        let mut out = MAGIC.to_vec();
        out.extend([1, 0]);
        out.extend((len as u16).to_le_bytes());
        out.extend(dict.as_bytes());
        out.resize(total - 1, b' ');
        out.push(b'\n');
        out
    }
}

/// A parser of the one Python literal that headers are: a dict of a string, a bool and a tuple.
struct Parser<'a> {
    rest: &'a str,
}

impl<'a> Parser<'a> {
    fn dict(&mut self) -> Option<(String, bool, Vec<usize>)> {
        let (mut descr, mut order, mut shape) = (None, None, None);
        self.token("{")?;
        while self.token("}").is_none() {
            let key = self.string()?;
            self.token(":")?;
            match key {
                "descr" => descr = Some(self.string()?.to_owned()),
                "fortran_order" => order = Some(self.boolean()?),
                "shape" => shape = Some(self.tuple()?),
                _ => return None,
            }
            if self.token(",").is_none() {
                self.token("}")?;
                break;
            }
        }
        self.rest.trim().is_empty().then_some((descr?, order?, shape?))
    }

    fn token(&mut self, token: &str) -> Option<()> {
        self.rest = self.rest.trim_start().strip_prefix(token)?;
        Some(())
    }

    fn string(&mut self) -> Option<&'a str> {
        let rest = self.rest.trim_start();
        let quote = rest.chars().next().filter(|c| matches!(c, '\'' | '"'))?;
        let (text, rest) = rest[1..].split_once(quote)?;
        self.rest = rest;
        (!text.contains('\\')).then_some(text)
    }

    fn boolean(&mut self) -> Option<bool> {
        match self.token("True") {
            Some(()) => Some(true),
            None => self.token("False").map(|()| false),
        }
    }

    fn tuple(&mut self) -> Option<Vec<usize>> {
        self.token("(")?;
        let mut dims = Vec::new();
        while self.token(")").is_none() {
            let rest = self.rest.trim_start();
            let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
            dims.push(rest[..end].parse().ok()?);
            self.rest = rest[end..].strip_prefix('L').unwrap_or(&rest[end..]);
            if self.token(",").is_none() {
                self.token(")")?;
                break;
            }
        }
        Some(dims)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn written_headers_are_numpys_own() {
        // What numpy.save writes for a (3, 4) array of float32.
        let mut want = b"\x93NUMPY\x01\x00\x76\x00".to_vec();
        want.extend(b"{'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), }");
        want.resize(127, b' ');
        want.push(b'\n');
        assert_eq!(NpyHeader::write("<f4", &[3, 4]), want);
    }

    proptest! {
        #[test]
        fn round_trip(shape in prop::collection::vec(any::<usize>(), 0..4)) {
            let bytes = NpyHeader::write("<f2", &shape);
            prop_assert_eq!(bytes.len() % 64, 0);
            let header = NpyHeader::parse(&bytes).unwrap();
            let want = NpyHeader {
                descr: "<f2".into(), fortran_order: false, shape, data_start: bytes.len(),
            };
            prop_assert_eq!(header, want);
        }

        #[test]
        fn no_bytes_panic(tail in prop::collection::vec(any::<u8>(), 0..80), text in ".{0,60}") {
            let _ = NpyHeader::parse(&tail);
            let mut bytes = MAGIC.to_vec();
            bytes.extend(&tail);
            let _ = NpyHeader::parse(&bytes);
            let _ = Parser { rest: &text }.dict();
            let _ = Parser { rest: &format!("{{'shape': ({text}") }.dict();
        }
    }

    #[test]
    fn what_is_wrong_is_said() {
        let of = |bytes: &[u8]| NpyHeader::parse(bytes).unwrap_err();
        assert_eq!(of(b"PK\x03\x04"), "a file of another kind");
        assert_eq!(of(b"\x93NUMPY\x09\x00"), "version 9 of the format");
        assert_eq!(of(b"\x93NUMPY\x01\x00\xff\xff{"), "a version 1 file cut off in its header");
        assert_eq!(of(b"\x93NUMPY\x01\x00\x02\x00{]"), "the header \"{]\"");
    }
}
