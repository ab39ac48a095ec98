//! The footer and the page headers of Parquet files, before they are given to the decoder (parquet 60):
//! whether it comes to their end, and how large it will make a page.
//!
//! They are structs of Thrift's compact protocol. Elements of lists take bytes, but for booleans in
//! that decoder, and for anything beyond the end of a file: it steps through as many of them as a list
//! says it has, and some fifty bytes could hold it for minutes. A walk over the types alone finds out
//! whether there are more elements than bytes.

/// How deep values may lie in each other: as deep as the decoder goes.
const DEPTH: u8 = 64;
const I32: u8 = 5;
const STRUCT: u8 = 12;

/// The header of a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct PageHeader {
    /// Bytes of the header itself.
    pub(super) len: usize,
    /// Bytes of the page when it is unpacked, and as it is.
    pub(super) uncompressed: i32,
    pub(super) compressed: i32,
}

/// Whether these bytes begin with a whole struct that has no more elements than bytes.
pub(super) fn ends(bytes: &[u8]) -> bool {
    Walk::new(bytes).value(STRUCT, DEPTH).is_some()
}

/// The header that these bytes begin with, if that [ends](ends).
pub(super) fn page_header(bytes: &[u8]) -> Option<PageHeader> {
    let mut walk = Walk::new(bytes);
    let [mut uncompressed, mut compressed] = [0; 2];
    let mut id = 0;
    while let kind @ 1.. = walk.field(&mut id)? {
        match (id, kind) {
            (2, I32) => uncompressed = walk.integer()?,
            (3, I32) => compressed = walk.integer()?,
            _ => walk.value(kind, DEPTH)?,
        }
    }
    Some(PageHeader { len: bytes.len() - walk.bytes.len(), uncompressed, compressed })
}

struct Walk<'a> {
    bytes: &'a [u8],
    /// Elements without bytes that may yet come.
    weightless: usize,
}

impl<'a> Walk<'a> {
    fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, weightless: bytes.len() }
    }

    /// The type of a struct's next field, 0 at its end; its number is counted on from the last.
    fn field(&mut self, id: &mut i64) -> Option<u8> {
        let head = self.byte()?;
        match (head >> 4, head & 15) {
            (_, 0) => {}
            (0, _) => *id = zigzag(self.number()?),
            (step, _) => *id = id.checked_add(step.into())?,
        }
        Some(head & 15)
    }

    /// Goes past a value of a type.
    fn value(&mut self, kind: u8, depth: u8) -> Option<()> {
        let depth = depth.checked_sub(1)?;
        match kind {
            1 | 2 => Some(()),
            3 => self.skip(1),
            4..=6 => self.number().map(|_| ()),
            7 => self.skip(8),
            8 => {
                let length = self.number()?;
                self.skip(length)
            }
            9 | 10 => {
                let head = self.byte()?;
                let count = if head >> 4 == 15 { self.number()? } else { u64::from(head >> 4) };
                self.elements(count, &[head & 15], depth)
            }
            11 => match self.number()? {
                0 => Some(()),
                count => {
                    let kinds = self.byte()?;
                    self.elements(count, &[kinds >> 4, kinds & 15], depth)
                }
            },
            STRUCT => {
                let mut id = 0;
                while let kind @ 1.. = self.field(&mut id)? {
                    self.value(kind, depth)?;
                }
                Some(())
            }
            13 => self.skip(16),
            _ => None,
        }
    }

    fn elements(&mut self, count: u64, kinds: &[u8], depth: u8) -> Option<()> {
        for _ in 0..count {
            if kinds.iter().all(|kind| matches!(kind, 1 | 2)) {
                self.weightless = self.weightless.checked_sub(1)?;
            }
            for &kind in kinds {
                self.value(kind, depth)?;
            }
        }
        Some(())
    }

    fn byte(&mut self) -> Option<u8> {
        let (&first, rest) = self.bytes.split_first()?;
        self.bytes = rest;
        Some(first)
    }

    /// A number of 7 bits a byte, the lowest first.
    fn number(&mut self) -> Option<u64> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            number |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(number);
            }
        }
        None
    }

    fn integer(&mut self) -> Option<i32> {
        i32::try_from(zigzag(self.number()?)).ok()
    }

    fn skip(&mut self, count: u64) -> Option<()> {
        let count = usize::try_from(count).ok()?;
        self.bytes = self.bytes.get(count..)?;
        Some(())
    }
}

/// Signs are the lowest bit.
fn zigzag(number: u64) -> i64 {
    (number >> 1) as i64 ^ -((number & 1) as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_are_bounded_by_bytes() {
        // Field 1: a list of 20 numbers, of 20 booleans, of 2³¹ booleans; a map of such.
        let numbers = [&[0x19, 0xf5, 20][..], &[0; 21]].concat();
        assert!(ends(&numbers));
        assert!(!ends(&numbers[..10]));
        assert!(!ends(&[0x19, 0xf1, 20, 0]));
        assert!(ends(&[&[0x19, 0xf1, 20, 0][..], &[0; 20]].concat()));
        assert!(!ends(&[0x19, 0xf2, 0xff, 0xff, 0xff, 0xff, 0x07, 0]));
        assert!(!ends(&[0x1b, 0xff, 0xff, 0xff, 0xff, 0x07, 0x11, 0]));
        // A string, a double, a field with a long number, a struct within; then a type there is not.
        let fields =
            [0x18, 2, b'a', b'b', 0x17, 0, 0, 0, 0, 0, 0, 0, 0, 0x05, 40, 9, 0x1c, 0x11, 0];
        assert!(ends(&[&fields[..], &[0]].concat()));
        assert!(!ends(&[&fields[..], &[0x1f, 0]].concat()));
        // Structs in structs, deeper than anyone goes.
        assert!(!ends(&[0x1c; 200]));
    }

    #[test]
    fn page_headers_are_read() {
        // Type 0, 1000 and 300 bytes, a header of a data page, and what follows.
        let bytes = [0x15, 0, 0x15, 0xd0, 0x0f, 0x15, 0xd8, 0x04, 0x2c, 0x15, 8, 0, 0, 99, 99];
        let header = PageHeader { len: 13, uncompressed: 1000, compressed: 300 };
        assert_eq!(page_header(&bytes), Some(header));
        assert_eq!(page_header(&bytes[..12]), None);
    }
}
