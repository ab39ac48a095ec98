//! Number types as files hold them.

use half::{bf16, f16};

use crate::Element;

/// Elements that are widened at once where they lie unaligned.
const PIECE: usize = 256;

/// A little-endian number type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dtype {
    F16,
    Bf16,
    F32,
    F64,
    I8,
    U8,
    I16,
    U16,
    I32,
    U32,
    I64,
    U64,
}

/// Runs `$body` with `$type` as the Rust type of a [`Dtype`].
macro_rules! with_element {
    ($dtype:expr, $type:ident => $body:expr) => {
        match $dtype {
            Dtype::F16 => {
                type $type = f16;
                $body
            }
            Dtype::Bf16 => {
                type $type = bf16;
                $body
            }
            Dtype::F32 => {
                type $type = f32;
                $body
            }
            Dtype::F64 => {
                type $type = f64;
                $body
            }
            Dtype::I8 => {
                type $type = i8;
                $body
            }
            Dtype::U8 => {
                type $type = u8;
                $body
            }
            Dtype::I16 => {
                type $type = i16;
                $body
            }
            Dtype::U16 => {
                type $type = u16;
                $body
            }
            Dtype::I32 => {
                type $type = i32;
                $body
            }
            Dtype::U32 => {
                type $type = u32;
                $body
            }
            Dtype::I64 => {
                type $type = i64;
                $body
            }
            Dtype::U64 => {
                type $type = u64;
                $body
            }
        }
    };
}

impl Dtype {
    /// What NumPy's type string (e.g. `<f4`) says: the type, and whether its bytes are in the other order,
    /// the highest first. Booleans are 0 and 1.
    pub(super) fn from_npy(descr: &str) -> Option<(Self, bool)> {
        let (order, kind) = descr.split_at_checked(1)?;
        let dtype = match kind {
            "f2" => Self::F16,
            "f4" => Self::F32,
            "f8" => Self::F64,
            "i1" => Self::I8,
            "u1" | "b1" => Self::U8,
            "i2" => Self::I16,
            "u2" => Self::U16,
            "i4" => Self::I32,
            "u4" => Self::U32,
            "i8" => Self::I64,
            "u8" => Self::U64,
            _ => return None,
        };
        match (order, dtype.size()) {
            ("|", 1) | ("<", _) => Some((dtype, false)),
            (">", size) => Some((dtype, size > 1)),
            _ => None,
        }
    }

    /// As Rust calls it.
    pub(crate) fn name(self) -> &'static str {
        with_element!(self, E => E::NAME)
    }

    /// Bytes of a number.
    pub(crate) fn size(self) -> usize {
        with_element!(self, E => size_of::<E>())
    }

    /// Writes `bytes` to `out` as `f32`, rounding to nearest. There are as many numbers in both.
    pub(crate) fn widen(self, bytes: &[u8], out: &mut [f32]) {
        with_element!(self, E => widen::<E>(bytes, out));
    }

    /// Writes rows in `bytes` less `origin` to `out`, rounding to nearest once.
    pub(crate) fn widen_from(self, bytes: &[u8], origin: &[f64], out: &mut [f32]) {
        with_element!(self, E => widen_from::<E>(bytes, origin, out));
    }

    /// The integers in `bytes`; the error says what is there instead.
    pub(crate) fn integers(self, bytes: &[u8]) -> Result<Vec<i64>, String> {
        macro_rules! each {
            ($type:ty) => {{
                let values = bytes
                    .chunks_exact(size_of::<$type>())
                    .map(|bytes| i64::try_from(bytemuck::pod_read_unaligned::<$type>(bytes)).ok());
                values.collect::<Option<_>>().ok_or_else(|| "a number above 2^63".to_owned())
            }};
        }
        match self {
            Self::I8 => each!(i8),
            Self::U8 => each!(u8),
            Self::I16 => each!(i16),
            Self::U16 => each!(u16),
            Self::I32 => each!(i32),
            Self::U32 => each!(u32),
            Self::I64 => each!(i64),
            Self::U64 => each!(u64),
            Self::F16 | Self::Bf16 | Self::F32 | Self::F64 => {
                Err(format!("elements of type {}", self.name()))
            }
        }
    }
}

fn widen<E: Element>(bytes: &[u8], out: &mut [f32]) {
    let size = size_of::<E>();
    match bytemuck::try_cast_slice(bytes) {
        Ok(elements) => E::widen(elements, out),
        Err(_) => {
            let mut piece = [E::zeroed(); PIECE];
            for (bytes, out) in bytes.chunks(PIECE * size).zip(out.chunks_mut(PIECE)) {
                let piece = &mut piece[..out.len()];
                bytemuck::cast_slice_mut(piece).copy_from_slice(bytes);
                E::widen(piece, out);
            }
        }
    }
}

fn widen_from<E: Element>(bytes: &[u8], origin: &[f64], out: &mut [f32]) {
    match bytemuck::try_cast_slice(bytes) {
        Ok(elements) => E::widen_from(elements, origin, out),
        Err(_) => {
            let mut row = vec![E::zeroed(); origin.len()];
            let rows = bytes.chunks_exact(size_of_val(&row[..]));
            for (bytes, out) in rows.zip(out.chunks_exact_mut(origin.len())) {
                bytemuck::cast_slice_mut(&mut row).copy_from_slice(bytes);
                E::widen_from(&row, origin, out);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unaligned_bytes_are_widened_alike() {
        let values: Vec<f16> = (0..700).map(|i| f16::from_f32(i as f32 / 3.0)).collect();
        let want: Vec<f32> = values.iter().map(|v| v.to_f32()).collect();
        let mut bytes = vec![0];
        bytes.extend_from_slice(bytemuck::cast_slice(&values));
        let mut got = vec![0.0; 700];
        Dtype::F16.widen(&bytes[1..], &mut got);
        assert_eq!(got, want);
    }

    #[test]
    fn an_origin_is_taken_off_before_rounding() {
        let origin = [1e8, -3e8];
        let values: Vec<f64> = (0..40).map(|i| origin[i % 2] + i as f64 / 7.0).collect();
        let want: Vec<f32> = (0..40).map(|i| (values[i] - origin[i % 2]) as f32).collect();
        let mut bytes = vec![0];
        bytes.extend_from_slice(bytemuck::cast_slice(&values));
        for bytes in [&bytes[1..], bytemuck::cast_slice(&values)] {
            let mut got = vec![0.0; 40];
            Dtype::F64.widen_from(bytes, &origin, &mut got);
            assert_eq!(got, want);
        }
    }

    #[test]
    fn integers_are_integers() {
        assert_eq!(Dtype::I8.integers(&[255, 1]).unwrap(), [-1, 1]);
        assert_eq!(Dtype::U64.integers(&[255; 8]).unwrap_err(), "a number above 2^63");
        assert_eq!(Dtype::F16.integers(&[0; 2]).unwrap_err(), "elements of type f16");
    }
}
