//! Whether the footer of a Parquet file can be read in a time that its length bounds.
//!
//! It is a struct of Thrift's compact protocol. Elements of lists take bytes, but for booleans in the
//! decoder that we use (parquet 60), which steps through as many of them as a list says it has: some
//! fifty bytes could hold it for minutes. A walk over the types alone finds that out.

/// How deep values may lie in each other: as deep as the decoder goes.
const DEPTH: u8 = 64;

/// Whether these bytes begin with a whole struct that has no more elements than bytes.
pub(super) fn ends_soon(bytes: &[u8]) -> bool {
    Walk { bytes, weightless: bytes.len() }.value(STRUCT, DEPTH).is_some()
}

const STRUCT: u8 = 12;

struct Walk<'a> {
    bytes: &'a [u8],
    /// Elements without bytes that may yet come.
    weightless: usize,
}

impl Walk<'_> {
    /// Goes past a value of a type. Nothing where it does not end.
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
                let count = if head >> 4 == 15 { self.number()? } else { usize::from(head >> 4) };
                self.elements(count, &[head & 15], depth)
            }
            11 => match self.number()? {
                0 => Some(()),
                count => {
                    let kinds = self.byte()?;
                    self.elements(count, &[kinds >> 4, kinds & 15], depth)
                }
            },
            STRUCT => loop {
                let head = self.byte()?;
                match head & 15 {
                    0 => return Some(()),
                    kind => {
                        if head >> 4 == 0 {
                            self.number()?;
                        }
                        self.value(kind, depth)?;
                    }
                }
            },
            13 => self.skip(16),
            _ => None,
        }
    }

    fn elements(&mut self, count: usize, kinds: &[u8], depth: u8) -> Option<()> {
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
    fn number(&mut self) -> Option<usize> {
        let mut number = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            number |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return usize::try_from(number).ok();
            }
        }
        None
    }

    fn skip(&mut self, count: usize) -> Option<()> {
        self.bytes = self.bytes.get(count..)?;
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_are_bounded_by_bytes() {
        // Field 1: a list of 20 numbers, of 20 booleans, of 2³¹ booleans; a map of such.
        let numbers = [&[0x19, 0xf5, 20][..], &[0; 21]].concat();
        assert!(ends_soon(&numbers));
        assert!(!ends_soon(&numbers[..10]));
        assert!(!ends_soon(&[0x19, 0xf1, 20, 0]));
        assert!(ends_soon(&[&[0x19, 0xf1, 20, 0][..], &[0; 20]].concat()));
        assert!(!ends_soon(&[0x19, 0xf2, 0xff, 0xff, 0xff, 0xff, 0x07, 0]));
        assert!(!ends_soon(&[0x1b, 0xff, 0xff, 0xff, 0xff, 0x07, 0x11, 0]));
        // A string, a double, a field with a long number, a struct within; then a type there is not.
        let fields =
            [0x18, 2, b'a', b'b', 0x17, 0, 0, 0, 0, 0, 0, 0, 0, 0x05, 40, 9, 0x1c, 0x11, 0];
        assert!(ends_soon(&[&fields[..], &[0]].concat()));
        assert!(!ends_soon(&[&fields[..], &[0x1f, 0]].concat()));
        // Structs in structs, deeper than anyone goes.
        assert!(!ends_soon(&[0x1c; 200]));
    }
}
