//! Files of named `f32` arrays and one entry of JSON (safetensors), read without trust.
//!
//! The JSON has a field `checksum` of eight hexadecimal digits: the CRC-32 of the whole file, taken
//! with eight zeros in their place. So any damage is noticed, wherever it is.

use safetensors::tensor::{Dtype, SafeTensorError, SafeTensors, TensorView};
use twinlearn_core::error::{Error, Result};

/// The key of the metadata entry.
const KEY: &str = "twinlearn";

/// The field in which the checksum stands, before it is known.
pub const UNSEALED: &str = "00000000";

/// What comes before its digits in the file, where the JSON is a string.
const SEAL: &[u8] = br#"\"checksum\":\""#;

/// A name, a shape and the values.
pub type Named<V> = (String, Vec<usize>, V);
/// What was expected of a file, and what came.
pub type Mismatch = (String, String);

/// The bytes of a file; they depend on nothing but what is in it. `json` has `"checksum":"00000000"`
/// as its first field of that name.
pub fn tensors_to_bytes(arrays: &[Named<&[f32]>], json: String) -> Result<Vec<u8>> {
    let fail = |e: &dyn std::fmt::Display| Error::invalid("arrays", "values that can be stored", e);
    let views = arrays.iter().map(|(name, shape, values)| {
        let bytes = bytemuck::cast_slice(values);
        TensorView::new(Dtype::F32, shape.clone(), bytes).map(|view| (name.as_str(), view))
    });
    let views = views.collect::<std::result::Result<Vec<_>, _>>().map_err(|e| fail(&e))?;
    // The one map that safetensors asks for; with one entry it has one order.
    #[allow(clippy::disallowed_types)]
    let entries = std::collections::HashMap::from([(KEY.to_owned(), json)]);
    let mut bytes = safetensors::serialize(views, Some(entries)).map_err(|e| fail(&e))?;
    let Some(at) = seal_at(&bytes) else { return Err(fail(&"metadata without a checksum")) };
    let digits = format!("{:08x}", crc32fast::hash(&bytes));
    bytes[at..at + UNSEALED.len()].copy_from_slice(digits.as_bytes());
    Ok(bytes)
}

/// Where the digits of the checksum are.
fn seal_at(bytes: &[u8]) -> Option<usize> {
    let at = bytes.windows(SEAL.len()).position(|window| window == SEAL)? + SEAL.len();
    (at + UNSEALED.len() <= bytes.len()).then_some(at)
}

/// That the file is as it was written, where it has a checksum; whether it has one.
fn check_seal(bytes: &[u8]) -> std::result::Result<bool, Mismatch> {
    let Some(at) = seal_at(bytes) else { return Ok(false) };
    let (digits, end) = (&bytes[at..at + UNSEALED.len()], at + UNSEALED.len());
    let mut hasher = crc32fast::Hasher::new();
    for part in [&bytes[..at], UNSEALED.as_bytes(), &bytes[end..]] {
        hasher.update(part);
    }
    let found = format!("{:08x}", hasher.finalize());
    if digits == found.as_bytes() {
        return Ok(true);
    }
    let expected = format!("contents with the checksum {}", digits.escape_ascii());
    Err((expected, format!("{found}: the file is damaged")))
}

/// A file that is being read.
pub struct Tensors<'a> {
    file: SafeTensors<'a>,
    /// The metadata.
    pub json: String,
    /// Whether the file has a checksum, which is then right.
    pub is_sealed: bool,
    used: usize,
}

impl<'a> Tensors<'a> {
    /// `what` should be in the bytes.
    pub fn parse(bytes: &'a [u8], what: &str) -> std::result::Result<Self, Mismatch> {
        let foreign = |e: &dyn std::fmt::Display| (what.to_owned(), e.to_string());
        // Other files begin with bytes that make no length of a header.
        let (_, header) = SafeTensors::read_metadata(bytes).map_err(|e| match e {
            SafeTensorError::HeaderTooLarge => foreign(&"a file of another kind"),
            e => foreign(&e),
        })?;
        let file = SafeTensors::deserialize(bytes).map_err(|e| foreign(&e))?;
        let json = header.metadata().as_ref().and_then(|entries| entries.get(KEY).cloned());
        let json = json.ok_or_else(|| foreign(&"a safetensors file of another kind"))?;
        let is_sealed = check_seal(bytes)?;
        Ok(Self { file, json, is_sealed, used: 0 })
    }

    /// How many numbers the file holds.
    pub fn n_values(&self) -> usize {
        self.file.iter().map(|(_, tensor)| tensor.data().len() / 4).sum()
    }

    /// Reads an array, which must have this shape and finite numbers.
    pub fn fill(
        &mut self,
        name: &str,
        shape: &[usize],
        values: &mut [f32],
    ) -> std::result::Result<(), Mismatch> {
        let wanted = || format!("{name} as f32 of shape {shape:?}");
        let tensor = self.file.tensor(name).map_err(|_| (wanted(), "no such array".into()))?;
        if tensor.dtype() != Dtype::F32 || tensor.shape() != shape {
            return Err((wanted(), format!("{:?} of shape {:?}", tensor.dtype(), tensor.shape())));
        }
        for (value, bytes) in values.iter_mut().zip(tensor.data().chunks_exact(4)) {
            *value = bytemuck::pod_read_unaligned(bytes);
            if !value.is_finite() {
                return Err((format!("finite numbers in {name}"), value.to_string()));
            }
        }
        self.used += 1;
        Ok(())
    }

    /// That every array was read.
    pub fn finish(self) -> std::result::Result<(), Mismatch> {
        if self.used == self.file.len() {
            return Ok(());
        }
        let expected = format!("{} arrays for this architecture", self.used);
        Err((expected, self.file.len().to_string()))
    }
}
