//! The footer and the page headers of Parquet files, before they are given to the decoder (parquet 60):
//! whether it comes to their end, and how large it will make a page.
//!
//! They are structs of Thrift's compact protocol. Elements of lists take bytes, but for booleans in
//! that decoder, and for anything beyond the end of a file: it steps through as many of them as a list
//! says it has, and some fifty bytes could hold it for minutes. A walk over the types finds out whether
//! there are more elements than bytes. It goes the decoder's way: that takes a field for what its
//! number says, so a field of another type is refused.

use super::shapes::{FOOTER, Kind, OPEN, PAGE_HEADER, STRUCT, Shape};

/// How deep values may lie in each other: as deep as the decoder goes.
const DEPTH: u8 = 64;
/// Bytes that a signature adds to a footer.
const SIGNATURE: usize = 28;

/// The header of a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct PageHeader {
    /// Bytes of the header itself.
    pub(super) len: usize,
    /// Bytes of the page when it is unpacked, and as it is.
    pub(super) uncompressed: i32,
    pub(super) compressed: i32,
}

/// Whether these bytes are a whole footer that has no more elements than bytes.
pub(super) fn is_footer(bytes: &[u8]) -> bool {
    let mut walk = Walk::new(bytes);
    let ended = walk.value(STRUCT, Some(Kind::Struct(FOOTER)), DEPTH);
    ended.is_some() && matches!(walk.bytes.len(), 0 | SIGNATURE)
}

/// The page header that these bytes begin with, if it ends and says what the page is and its sizes.
pub(super) fn page_header(bytes: &[u8]) -> Option<PageHeader> {
    let mut walk = Walk::new(bytes);
    let [mut page, mut uncompressed, mut compressed] = [None; 3];
    let mut id = 0;
    while let Some((kind, known)) = walk.field(&mut id, PAGE_HEADER)? {
        match id {
            1 => page = Some(walk.integer()?),
            2 => uncompressed = Some(walk.integer()?),
            3 => compressed = Some(walk.integer()?),
            _ => walk.value(kind, known, DEPTH)?,
        }
    }
    let len = bytes.len() - walk.bytes.len();
    page.and(Some(PageHeader { len, uncompressed: uncompressed?, compressed: compressed? }))
}

struct Walk<'a> {
    bytes: &'a [u8],
    /// Elements without bytes that may yet come.
    weightless: usize,
}

/// The type of a field, and what it should be, where that is known.
type Field = (u8, Option<Kind>);

impl<'a> Walk<'a> {
    fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, weightless: bytes.len() }
    }

    /// A struct's next field; its number is counted on from the last.
    fn field(&mut self, id: &mut i64, shape: &Shape) -> Option<Option<Field>> {
        let head = self.byte()?;
        let kind = head & 15;
        match (head >> 4, kind) {
            (_, 0) => return Some(None),
            (0, _) => *id = zigzag(self.number()?),
            (step, _) => *id = id.checked_add(step.into())?,
        }
        let known = shape.iter().find(|(known, _)| known == id).map(|&(_, kind)| kind);
        if known.is_some_and(|known| !known.is(kind)) { None } else { Some(Some((kind, known))) }
    }

    /// Goes past a value of a type.
    fn value(&mut self, kind: u8, known: Option<Kind>, depth: u8) -> Option<()> {
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
                let known = match known {
                    Some(Kind::List(&item)) if count > 0 && !item.is(head & 15) => return None,
                    Some(Kind::List(&item)) => Some(item),
                    _ => None,
                };
                self.elements(count, &[head & 15], known, depth)
            }
            11 => match self.number()? {
                0 => Some(()),
                count => {
                    let kinds = self.byte()?;
                    self.elements(count, &[kinds >> 4, kinds & 15], None, depth)
                }
            },
            STRUCT => {
                let Kind::Struct(shape) = known.unwrap_or(OPEN) else { return None };
                let mut id = 0;
                while let Some((kind, known)) = self.field(&mut id, shape)? {
                    self.value(kind, known, depth)?;
                }
                Some(())
            }
            13 => self.skip(16),
            _ => None,
        }
    }

    fn elements(&mut self, count: u64, kinds: &[u8], known: Option<Kind>, depth: u8) -> Option<()> {
        for _ in 0..count {
            if kinds.iter().all(|kind| matches!(kind, 1 | 2)) {
                self.weightless = self.weightless.checked_sub(1)?;
            }
            for &kind in kinds {
                self.value(kind, known, depth)?;
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

    /// A footer that ends: a version, then fields that nobody knows.
    fn footer(unknown: &[u8]) -> Vec<u8> {
        [&[0x15, 2, 0x09, 200, 1][..], unknown].concat()
    }

    #[test]
    fn elements_are_bounded_by_bytes() {
        // Field 100: a list of 20 numbers, of 20 booleans, of 2³¹ booleans.
        let numbers = footer(&[&[0xf5, 20][..], &[0; 21]].concat());
        assert!(is_footer(&numbers));
        assert!(!is_footer(&numbers[..10]), "cut off");
        assert!(!is_footer(&[&numbers[..], &[0]].concat()), "goes on");
        assert!(is_footer(&[&numbers[..], &[1; SIGNATURE]].concat()), "signed");
        assert!(!is_footer(&footer(&[0xf1, 20, 0])));
        assert!(!is_footer(&footer(&[0xf2, 0xff, 0xff, 0xff, 0xff, 0x07, 0])));
        // The same as a map.
        assert!(!is_footer(&[0x0b, 200, 1, 0xff, 0xff, 0xff, 0xff, 0x07, 0x11, 0]));
        assert!(is_footer(&[0x0b, 200, 1, 1, 0x11, 0]));
        // A string, a double, a struct; then a type there is not.
        let fields = [0x08, 200, 1, 2, b'a', b'b', 0x17, 0, 0, 0, 0, 0, 0, 0, 0, 0x1c, 0x11, 0];
        assert!(is_footer(&[&fields[..], &[0]].concat()));
        assert!(!is_footer(&[&fields[..], &[0x1f, 0]].concat()));
        // Structs in structs, deeper than anyone goes.
        assert!(!is_footer(&[0x1c; 200]));
    }

    #[test]
    fn fields_are_what_their_numbers_say() {
        assert!(is_footer(&[0x15, 2, 0]));
        assert!(!is_footer(&[0x11, 0]), "a version is a number");
        assert!(is_footer(&[0x29, 0, 0]), "no schema");
        assert!(!is_footer(&[0x29, 0x15, 2, 0]), "a schema is not of numbers");
        assert!(is_footer(&[0x29, 0x1c, 0x15, 2, 0, 0]));
        assert!(!is_footer(&[0x29, 0x1c, 0x16, 2, 0, 0]), "of its elements neither");
    }

    #[test]
    fn page_headers_are_read() {
        // Type 0, 1000 and 300 bytes, a header of a data page, and what follows.
        let bytes = [0x15, 0, 0x15, 0xd0, 0x0f, 0x15, 0xd8, 0x04, 0x2c, 0x15, 8, 0, 0, 99, 99];
        let header = PageHeader { len: 13, uncompressed: 1000, compressed: 300 };
        assert_eq!(page_header(&bytes), Some(header));
        assert_eq!(page_header(&bytes[..12]), None);
        assert_eq!(page_header(&[0x15, 0, 0x16, 0xd0, 0x0f, 0]), None, "a size of 64 bits");
        assert_eq!(page_header(&[0; 8]), None, "a header of nothing");
        assert_eq!(page_header(&[0x15, 0, 0x15, 0xd0, 0x0f, 0]), None, "one size alone");
    }
}
