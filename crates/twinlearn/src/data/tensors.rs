//! Files of named `f32` arrays and one entry of JSON (safetensors), read without trust.

use safetensors::tensor::{Dtype, SafeTensors, TensorView};

use crate::error::{Error, Result};

/// The key of the metadata entry.
const KEY: &str = "twinlearn";

/// A name, a shape and the values.
pub(crate) type Named<V> = (String, Vec<usize>, V);
/// What was expected of a file, and what came.
pub(crate) type Mismatch = (String, String);

/// The bytes of a file; they depend on nothing but what is in it.
pub(crate) fn tensors_to_bytes(arrays: &[Named<&[f32]>], json: String) -> Result<Vec<u8>> {
    let fail = |e: &dyn std::fmt::Display| Error::invalid("arrays", "values that can be stored", e);
    let views = arrays.iter().map(|(name, shape, values)| {
        let bytes = bytemuck::cast_slice(values);
        TensorView::new(Dtype::F32, shape.clone(), bytes).map(|view| (name.as_str(), view))
    });
    let views = views.collect::<std::result::Result<Vec<_>, _>>().map_err(|e| fail(&e))?;
    // The one map that safetensors asks for; with one entry it has one order.
    #[allow(clippy::disallowed_types)]
    let entries = std::collections::HashMap::from([(KEY.to_owned(), json)]);
    safetensors::serialize(views, Some(entries)).map_err(|e| fail(&e))
}

/// A file that is being read.
pub(crate) struct Tensors<'a> {
    file: SafeTensors<'a>,
    pub(crate) json: String,
    used: usize,
}

impl<'a> Tensors<'a> {
    /// The error says what came instead of a file of ours.
    pub(crate) fn parse(bytes: &'a [u8]) -> std::result::Result<Self, String> {
        let (_, header) = SafeTensors::read_metadata(bytes).map_err(|e| e.to_string())?;
        let file = SafeTensors::deserialize(bytes).map_err(|e| e.to_string())?;
        let json = header.metadata().as_ref().and_then(|entries| entries.get(KEY).cloned());
        let json = json.ok_or("a safetensors file of another kind")?;
        Ok(Self { file, json, used: 0 })
    }

    /// How many numbers the file holds.
    pub(crate) fn n_values(&self) -> usize {
        self.file.iter().map(|(_, tensor)| tensor.data().len() / 4).sum()
    }

    /// Reads an array, which must have this shape and finite numbers.
    pub(crate) fn fill(
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
    pub(crate) fn finish(self) -> std::result::Result<(), Mismatch> {
        if self.used == self.file.len() {
            return Ok(());
        }
        let expected = format!("{} arrays for this architecture", self.used);
        Err((expected, self.file.len().to_string()))
    }

    /// CRC-32 of all names and values, in the order of the names.
    pub(crate) fn checksum(&self) -> u32 {
        let mut names = self.file.names();
        names.sort_unstable();
        let mut hasher = crc32fast::Hasher::new();
        for name in names {
            hasher.update(name.as_bytes());
            hasher.update(self.file.tensor(name).map_or(&[][..], |tensor| tensor.data()));
        }
        hasher.finalize()
    }
}

/// What [`Tensors::checksum`] will be of these arrays.
pub(crate) fn checksum(arrays: &[Named<&[f32]>]) -> u32 {
    let mut order: Vec<_> = arrays.iter().collect();
    order.sort_unstable_by(|a, b| a.0.cmp(&b.0));
    let mut hasher = crc32fast::Hasher::new();
    for (name, _, values) in order {
        hasher.update(name.as_bytes());
        hasher.update(bytemuck::cast_slice(values));
    }
    hasher.finalize()
}
