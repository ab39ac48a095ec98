//! The footer and the page headers of Parquet files, before they are given to the decoder (parquet 60):
//! whether it comes to their end, and how large it will make a page.
//!
//! They are structs of Thrift's compact protocol. Elements of lists take bytes, but for booleans in
//! that decoder, which steps through as many of them as a list says it has: some fifty bytes could
//! hold it for minutes. A walk over the types alone finds that out.

/// How deep values may lie in each other: as deep as the decoder goes.
const DEPTH: u8 = 64;
const I32: u8 = 5;
const STRUCT: u8 = 12;

/// Why a walk did not come to the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// What the decoder will notice itself.
    Malformed,
    /// More elements than bytes.
    Endless,
}

type Result<T> = std::result::Result<T, Fault>;

/// The header of a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct PageHeader {
    /// Bytes of the header itself.
    pub(super) len: usize,
    /// Bytes of the page when it is unpacked, and as it is.
    pub(super) uncompressed: i32,
    pub(super) compressed: i32,
}

/// Walks through a struct.
pub(super) fn walk(bytes: &[u8]) -> Result<()> {
    Walk::new(bytes).value(STRUCT, DEPTH)
}

/// The header that these bytes begin with.
pub(super) fn page_header(bytes: &[u8]) -> Result<PageHeader> {
    let mut walk = Walk::new(bytes);
    let [mut uncompressed, mut compressed] = [0; 2];
    let mut id = 0;
    while let Some(kind) = walk.field(&mut id)? {
        match (id, kind) {
            (2, I32) => uncompressed = walk.integer()?,
            (3, I32) => compressed = walk.integer()?,
            _ => walk.value(kind, DEPTH)?,
        }
    }
    Ok(PageHeader { len: bytes.len() - walk.bytes.len(), uncompressed, compressed })
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

    /// The type of a struct's next field, none at its end; its number is counted on from the last.
    fn field(&mut self, id: &mut i64) -> Result<Option<u8>> {
        let head = self.byte()?;
        match (head >> 4, head & 15) {
            (_, 0) => return Ok(None),
            (0, _) => *id = zigzag(self.number()?),
            (step, _) => *id += i64::from(step),
        }
        Ok(Some(head & 15))
    }

    /// Goes past a value of a type.
    fn value(&mut self, kind: u8, depth: u8) -> Result<()> {
        let depth = depth.checked_sub(1).ok_or(Fault::Malformed)?;
        match kind {
            1 | 2 => Ok(()),
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
                0 => Ok(()),
                count => {
                    let kinds = self.byte()?;
                    self.elements(count, &[kinds >> 4, kinds & 15], depth)
                }
            },
            STRUCT => {
                let mut id = 0;
                while let Some(kind) = self.field(&mut id)? {
                    self.value(kind, depth)?;
                }
                Ok(())
            }
            13 => self.skip(16),
            _ => Err(Fault::Malformed),
        }
    }

    fn elements(&mut self, count: u64, kinds: &[u8], depth: u8) -> Result<()> {
        for _ in 0..count {
            if kinds.iter().all(|kind| matches!(kind, 1 | 2)) {
                self.weightless = self.weightless.checked_sub(1).ok_or(Fault::Endless)?;
            }
            for &kind in kinds {
                self.value(kind, depth)?;
            }
        }
        Ok(())
    }

    fn byte(&mut self) -> Result<u8> {
        let (&first, rest) = self.bytes.split_first().ok_or(Fault::Malformed)?;
        self.bytes = rest;
        Ok(first)
    }

    /// A number of 7 bits a byte, the lowest first.
    fn number(&mut self) -> Result<u64> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            number |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(number);
            }
        }
        Err(Fault::Malformed)
    }

    fn integer(&mut self) -> Result<i32> {
        i32::try_from(zigzag(self.number()?)).map_err(|_| Fault::Malformed)
    }

    fn skip(&mut self, count: u64) -> Result<()> {
        let count = usize::try_from(count).map_err(|_| Fault::Malformed)?;
        self.bytes = self.bytes.get(count..).ok_or(Fault::Malformed)?;
        Ok(())
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
        assert_eq!(walk(&numbers), Ok(()));
        assert_eq!(walk(&numbers[..10]), Err(Fault::Malformed));
        assert_eq!(walk(&[0x19, 0xf1, 20, 0]), Err(Fault::Endless));
        assert_eq!(walk(&[&[0x19, 0xf1, 20, 0][..], &[0; 20]].concat()), Ok(()));
        assert_eq!(walk(&[0x19, 0xf2, 0xff, 0xff, 0xff, 0xff, 0x07, 0]), Err(Fault::Endless));
        assert_eq!(walk(&[0x1b, 0xff, 0xff, 0xff, 0xff, 0x07, 0x11, 0]), Err(Fault::Endless));
        // A string, a double, a field with a long number, a struct within; then a type there is not.
        let fields =
            [0x18, 2, b'a', b'b', 0x17, 0, 0, 0, 0, 0, 0, 0, 0, 0x05, 40, 9, 0x1c, 0x11, 0];
        assert_eq!(walk(&[&fields[..], &[0]].concat()), Ok(()));
        assert_eq!(walk(&[&fields[..], &[0x1f, 0]].concat()), Err(Fault::Malformed));
        // Structs in structs, deeper than anyone goes.
        assert_eq!(walk(&[0x1c; 200]), Err(Fault::Malformed));
    }

    #[test]
    fn page_headers_are_read() {
        // Type 0, 1000 and 300 bytes, a header of a data page, and what follows.
        let bytes = [0x15, 0, 0x15, 0xd0, 0x0f, 0x15, 0xd8, 0x04, 0x2c, 0x15, 8, 0, 0, 99, 99];
        let header = PageHeader { len: 13, uncompressed: 1000, compressed: 300 };
        assert_eq!(page_header(&bytes), Ok(header));
        assert_eq!(page_header(&bytes[..12]), Err(Fault::Malformed));
    }
}
