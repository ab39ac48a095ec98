//! Memory-mapped `.npy` files.

use std::fs::File;
use std::path::Path;

use half::f16;
use memmap2::Mmap;

use super::npy_header::NpyHeader;
use super::{Element, Vectors};
use crate::error::{Error, Result};
use crate::linalg::kernels::map_file;

/// A mapped file, its header read and its length checked against it.
struct NpyFile {
    map: Mmap,
    header: NpyHeader,
}

impl NpyFile {
    fn open(path: &Path) -> Result<Self> {
        let file = File::open(path).map_err(|e| Error::io(path, "open", e))?;
        let metadata = file.metadata().map_err(|e| Error::io(path, "read", e))?;
        if !metadata.is_file() {
            return Err(Error::file(path, "a .npy file", "something that is not a regular file"));
        }
        if metadata.len() == 0 {
            return Err(Error::file(path, "a .npy file", "an empty file"));
        }
        let map = map_file(&file).map_err(|e| Error::io(path, "map", e))?;
        let header = NpyHeader::parse(&map).map_err(|got| Error::file(path, "a .npy file", got))?;
        let width = match header.descr.as_str() {
            "|i1" | "|u1" => 1,
            "<f2" | "<i2" | "<u2" => 2,
            "<f4" | "<i4" | "<u4" => 4,
            "<f8" | "<i8" | "<u8" => 8,
            other => {
                return Err(Error::file(
                    path,
                    "little-endian floats or integers",
                    format_args!("elements of type {other:?}"),
                ));
            }
        };
        if header.fortran_order && header.shape.len() > 1 {
            return Err(Error::file(path, "an array in C order", "one in Fortran order"));
        }
        let wanted = header.shape.iter().try_fold(width, |n: usize, &d| n.checked_mul(d));
        let found = map.len() - header.data_start;
        if wanted != Some(found) {
            let wanted =
                wanted.map_or("more than memory can address".to_owned(), |n| n.to_string());
            return Err(Error::file(
                path,
                format_args!("{wanted} bytes of data for shape {:?}", header.shape),
                format_args!("{found}"),
            ));
        }
        Ok(Self { map, header })
    }

    fn data(&self) -> &[u8] {
        &self.map[self.header.data_start..]
    }

    /// Rows and columns; a 1-D array is an error.
    fn shape_2d(&self, path: &Path) -> Result<(usize, usize)> {
        match self.header.shape[..] {
            [rows, cols] => Ok((rows, cols)),
            _ => {
                Err(Error::file(path, "a 2-D array", format_args!("shape {:?}", self.header.shape)))
            }
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum FloatType {
    F16,
    F32,
    F64,
}

/// The rows of a 2-D `.npy` file of `f16`, `f32` or `f64` in C order, memory-mapped: pages are
/// read when they are used and nothing is copied whole.
pub struct NpyVectors {
    file: NpyFile,
    float: FloatType,
    n_rows: usize,
    dim: usize,
}

impl std::fmt::Debug for NpyVectors {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NpyVectors")
            .field("n_rows", &self.n_rows)
            .field("dim", &self.dim)
            .field("dtype", &self.dtype())
            .finish_non_exhaustive()
    }
}

impl NpyVectors {
    /// Maps `path`.
    ///
    /// # Errors
    /// When the file cannot be opened, is no `.npy` file, is cut off, is not 2-D, holds no
    /// element, or is not C-order `f16`, `f32` or `f64`.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let file = NpyFile::open(path)?;
        let float = match file.header.descr.as_str() {
            "<f2" => FloatType::F16,
            "<f4" => FloatType::F32,
            "<f8" => FloatType::F64,
            other => {
                return Err(Error::file(
                    path,
                    "elements of type f16, f32 or f64",
                    format_args!("type {other:?}"),
                ));
            }
        };
        let (n_rows, dim) = file.shape_2d(path)?;
        if n_rows == 0 || dim == 0 {
            return Err(Error::file(
                path,
                "at least one row and one column",
                format_args!("shape {:?}", file.header.shape),
            ));
        }
        if u32::try_from(n_rows).is_err() {
            return Err(Error::file(path, "fewer than 2^32 rows", n_rows));
        }
        Ok(Self { file, float, n_rows, dim })
    }

    /// The type of the elements on disk: `f16`, `f32` or `f64`.
    #[must_use]
    pub fn dtype(&self) -> &'static str {
        match self.float {
            FloatType::F16 => f16::NAME,
            FloatType::F32 => f32::NAME,
            FloatType::F64 => f64::NAME,
        }
    }

    fn widen<E: Element>(&self, start: usize, out: &mut [f32]) {
        let size = size_of::<E>();
        let first = start * self.dim * size;
        let bytes = &self.file.data()[first..first + out.len() * size];
        match bytemuck::try_cast_slice(bytes) {
            Ok(elements) => E::widen(elements, out),
            // A header of another writer may leave the data unaligned: copy piece by piece.
            Err(_) => {
                let mut piece = [E::zeroed(); 256];
                for (bytes, out) in bytes.chunks(256 * size).zip(out.chunks_mut(256)) {
                    let piece = &mut piece[..out.len()];
                    bytemuck::cast_slice_mut(piece).copy_from_slice(bytes);
                    E::widen(piece, out);
                }
            }
        }
    }
}

impl Vectors for NpyVectors {
    fn as_f32(&self) -> Option<&[f32]> {
        match self.float {
            FloatType::F32 => bytemuck::try_cast_slice(self.file.data()).ok(),
            FloatType::F16 | FloatType::F64 => None,
        }
    }

    fn n_rows(&self) -> usize {
        self.n_rows
    }

    fn dim(&self) -> usize {
        self.dim
    }

    fn read_rows(&self, start: usize, out: &mut [f32]) -> Result<()> {
        match self.float {
            FloatType::F16 => self.widen::<f16>(start, out),
            FloatType::F32 => self.widen::<f32>(start, out),
            FloatType::F64 => self.widen::<f64>(start, out),
        }
        Ok(())
    }
}

/// Reads a `.npy` file of integers: its shape and its elements in C order.
///
/// # Errors
/// When the file cannot be opened, is no `.npy` file, is cut off, or does not hold integers; an
/// unsigned value above `i64::MAX` is an error too.
pub fn read_npy_integers(path: impl AsRef<Path>) -> Result<(Vec<usize>, Vec<i64>)> {
    let path = path.as_ref();
    let file = NpyFile::open(path)?;
    macro_rules! widen {
        ($type:ty) => {
            file.data()
                .chunks_exact(size_of::<$type>())
                .map(|bytes| i64::try_from(bytemuck::pod_read_unaligned::<$type>(bytes)).ok())
                .collect()
        };
    }
    let values: Option<Vec<i64>> = match file.header.descr.as_str() {
        "|i1" => widen!(i8),
        "|u1" => widen!(u8),
        "<i2" => widen!(i16),
        "<u2" => widen!(u16),
        "<i4" => widen!(i32),
        "<u4" => widen!(u32),
        "<i8" => widen!(i64),
        "<u8" => widen!(u64),
        other => {
            return Err(Error::file(path, "integers", format_args!("elements of type {other:?}")));
        }
    };
    let values = values.ok_or_else(|| {
        Error::file(path, "integers of at most 63 bits", "an unsigned value above them")
    })?;
    Ok((file.header.shape, values))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn file(header: &[u8], data: &[u8]) -> tempfile::NamedTempFile {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(header).unwrap();
        file.write_all(data).unwrap();
        file
    }

    fn error_of(header: &[u8], data: &[u8]) -> String {
        let file = file(header, data);
        let message = NpyVectors::open(file.path()).unwrap_err().to_string();
        message.replace(&*file.path().to_string_lossy(), "x.npy")
    }

    #[test]
    fn every_float_type_is_read() {
        let want = [1.5_f32, -2.0, 0.25, 8.0, 3.0, -0.5];
        let half: Vec<f16> = want.iter().map(|&v| f16::from_f32(v)).collect();
        let wide: Vec<f64> = want.iter().map(|&v| v.into()).collect();
        for (descr, bytes) in [
            ("<f2", bytemuck::cast_slice(&half)),
            ("<f4", bytemuck::cast_slice(&want)),
            ("<f8", bytemuck::cast_slice(&wide)),
        ] {
            let file = file(&NpyHeader::write(descr, &[3, 2]), bytes);
            let x = NpyVectors::open(file.path()).unwrap();
            let mut out = [0.0; 4];
            x.read_rows(1, &mut out).unwrap();
            assert_eq!(out, want[2..], "{descr}");
            x.gather(&[2, 0], &mut out).unwrap();
            assert_eq!(out, [3.0, -0.5, 1.5, -2.0], "{descr}");
        }
    }

    #[test]
    fn unaligned_data_are_read() {
        // A header padded to an odd length, as no NumPy writes but the format allows.
        let mut header = NpyHeader::write("<f4", &[300, 1]);
        header.insert(header.len() - 1, b' ');
        let len = (header.len() - 10) as u16;
        header[8..10].copy_from_slice(&len.to_le_bytes());
        let want: Vec<f32> = (0..300).map(|i| i as f32).collect();
        let file = file(&header, bytemuck::cast_slice(&want));
        let mut out = vec![0.0; 300];
        NpyVectors::open(file.path()).unwrap().read_rows(0, &mut out).unwrap();
        assert_eq!(out, want);
    }

    #[test]
    fn wrong_files_are_named() {
        let header = |descr: &str, shape: &[usize]| NpyHeader::write(descr, shape);
        assert_eq!(
            error_of(&header("<f4", &[3, 2]), &[0; 23]),
            "x.npy: expected 24 bytes of data for shape [3, 2], got 23"
        );
        assert_eq!(
            error_of(&header("<f4", &[6]), &[0; 24]),
            "x.npy: expected a 2-D array, got shape [6]"
        );
        assert_eq!(
            error_of(&header("<f4", &[0, 6]), &[]),
            "x.npy: expected at least one row and one column, got shape [0, 6]"
        );
        assert_eq!(
            error_of(&header("<i4", &[1, 1]), &[0; 4]),
            "x.npy: expected elements of type f16, f32 or f64, got type \"<i4\""
        );
        assert_eq!(
            error_of(&header(">f4", &[1, 1]), &[0; 4]),
            "x.npy: expected little-endian floats or integers, got elements of type \">f4\""
        );
        assert_eq!(
            error_of(&header("<f4", &[usize::MAX, 2]), &[0; 4]),
            format!(
                "x.npy: expected more than memory can address bytes of data for shape [{}, 2], got 4",
                usize::MAX
            )
        );
        assert_eq!(error_of(b"", b""), "x.npy: expected a .npy file, got an empty file");
        assert_eq!(error_of(b"PK", b""), "x.npy: expected a .npy file, got a file of another kind");
        let fortran = b"\x93NUMPY\x01\x00\x40\x00{'descr': '<f4', 'fortran_order': True, 'shape': (1, 1), }      ";
        assert_eq!(
            error_of(fortran, &[0; 4]),
            "x.npy: expected an array in C order, got one in Fortran order"
        );
    }
}
