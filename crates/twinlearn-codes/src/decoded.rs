//! The rows that codes stand for.

use twinlearn_core::error::{Error, Result};
use twinlearn_vectors::Vectors;

use crate::codec::{Codec, check_finite};

/// Codes whose bytes are read and decoded at once.
const ROWS: usize = 64;

/// The rows that codes stand for, turned as [`search_codes`](crate::search_codes) turns its queries,
/// decoded anew each time that they are read. The codes are vectors of bytes, N × [`Codec::row_bytes`], in
/// memory or in a file.
#[derive(Clone, Copy)]
pub struct Decoded<'a> {
    codec: &'a Codec,
    codes: &'a dyn Vectors,
}

impl std::fmt::Debug for Decoded<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Decoded").field("n_rows", &self.n_rows()).finish_non_exhaustive()
    }
}

impl<'a> Decoded<'a> {
    /// The rows that `codes` stand for.
    ///
    /// # Errors
    /// When codes have another number of bytes.
    pub fn new(codec: &'a Codec, codes: &'a dyn Vectors) -> Result<Self> {
        let bytes = codec.row_bytes();
        if codes.dim() == bytes {
            return Ok(Self { codec, codes });
        }
        let expected = format!("{bytes} bytes a row, as code {} has", codec.spec());
        Err(Error::invalid("codes", expected, codes.dim()))
    }

    /// Decodes as many rows as `out` has; `read` writes so many codes from a place on.
    fn decode(
        &self,
        out: &mut [f32],
        read: impl Fn(usize, &mut [f32]) -> Result<()>,
    ) -> Result<()> {
        let (dim, bytes) = (self.dim(), self.codes.dim());
        let (mut numbers, mut code) = (vec![0.0; ROWS * bytes], vec![0; bytes]);
        for (b, out) in out.chunks_mut(ROWS * dim).enumerate() {
            let numbers = &mut numbers[..out.len() / dim * bytes];
            read(b * ROWS, numbers)?;
            for (numbers, out) in numbers.chunks_exact(bytes).zip(out.chunks_exact_mut(dim)) {
                to_bytes(numbers, &mut code)?;
                self.codec.decode_turned(&code, out);
                check_finite(out)?;
            }
        }
        Ok(())
    }
}

impl Vectors for Decoded<'_> {
    fn n_rows(&self) -> usize {
        self.codes.n_rows()
    }

    fn dim(&self) -> usize {
        self.codec.dim()
    }

    fn read_rows(&self, start: usize, out: &mut [f32]) -> Result<()> {
        self.decode(out, |at, numbers| self.codes.read_rows(start + at, numbers))
    }

    fn gather(&self, ids: &[u32], out: &mut [f32]) -> Result<()> {
        let bytes = self.codes.dim();
        self.decode(out, |at, numbers| {
            self.codes.gather(&ids[at..at + numbers.len() / bytes], numbers)
        })
    }
}

/// Writes numbers as the bytes that they are.
pub(crate) fn to_bytes(numbers: &[f32], bytes: &mut [u8]) -> Result<()> {
    for (byte, &number) in bytes.iter_mut().zip(numbers) {
        *byte = number as u8;
        if f32::from(*byte) != number {
            return Err(Error::invalid("codes", "bytes, from 0 to 255", number));
        }
    }
    Ok(())
}
