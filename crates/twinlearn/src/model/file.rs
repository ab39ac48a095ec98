//! The model file: safetensors with one metadata entry of JSON. Loading checks everything and
//! executes nothing.

use std::path::Path;

use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use serde::{Deserialize, Serialize};

use super::{Model, TrainingRecord};
use crate::data::OutputFile;
use crate::error::{Error, Result};
use crate::nn::{Network, NetworkSpec};
use crate::params::{Hyperparameters, Params};

/// The version this crate writes, and the newest it reads.
const SCHEMA_VERSION: u32 = 1;
/// The key of the metadata entry.
const KEY: &str = "twinlearn";

/// The metadata. `schema_version` comes first and is read on its own before the rest.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Metadata {
    schema_version: u32,
    producer: String,
    n_features: usize,
    has_projector: bool,
    hyperparameters: Hyperparameters,
    training: TrainingRecord,
}

#[derive(Deserialize)]
struct Version {
    schema_version: u32,
}

impl Model {
    /// Writes the model to `path`, replacing an older file only when the new one is whole. The
    /// bytes depend on nothing but the model.
    ///
    /// # Errors
    /// When the file cannot be written; an older one is then untouched.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        let path = path.as_ref();
        let mut file = OutputFile::create(path)?;
        file.write_all(&self.to_bytes()?)?;
        file.commit()
    }

    /// Reads a model from `path`.
    ///
    /// # Errors
    /// When the file cannot be read, is no model, is of a newer schema version, or anything in it
    /// does not fit together; the message says which.
    pub fn load(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let bytes = std::fs::read(path).map_err(|e| Error::io(path, "read", e))?;
        Self::parse(&bytes).map_err(|(expected, actual)| Error::file(path, expected, actual))
    }

    /// The bytes of the model file.
    ///
    /// # Errors
    /// When the metadata cannot be written as JSON, i.e. never for a model that was fitted.
    pub fn to_bytes(&self) -> Result<Vec<u8>> {
        let metadata = Metadata {
            schema_version: SCHEMA_VERSION,
            producer: concat!("twinlearn ", env!("CARGO_PKG_VERSION")).to_owned(),
            n_features: self.n_features(),
            has_projector: self.has_projector(),
            hyperparameters: Hyperparameters::clone(&self.params),
            training: self.training.clone(),
        };
        let fail =
            |e: &dyn std::fmt::Display| Error::invalid("model", "values that can be stored", e);
        let json = serde_json::to_string(&metadata).map_err(|e| fail(&e))?;
        let arrays = self.named_arrays();
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

    /// Reads a model from the bytes of a model file.
    ///
    /// # Errors
    /// As [`load`](Self::load).
    pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
        Self::parse(bytes).map_err(|(expected, actual)| Error::invalid("model", expected, actual))
    }

    /// The error is what was expected and what came.
    fn parse(bytes: &[u8]) -> std::result::Result<Self, (String, String)> {
        let foreign = |actual: &dyn std::fmt::Display| {
            ("a twinlearn model (.safetensors)".to_owned(), actual.to_string())
        };
        let (_, header) = SafeTensors::read_metadata(bytes).map_err(|e| foreign(&e))?;
        let tensors = SafeTensors::deserialize(bytes).map_err(|e| foreign(&e))?;
        let json = header
            .metadata()
            .as_ref()
            .and_then(|m| m.get(KEY))
            .ok_or_else(|| foreign(&"a safetensors file of another kind"))?;
        let broken = |e: serde_json::Error| foreign(&format_args!("metadata with {e}"));
        let Version { schema_version } = serde_json::from_str(json).map_err(broken)?;
        if schema_version > SCHEMA_VERSION {
            return Err((
                format!("a model of schema version up to {SCHEMA_VERSION}"),
                format!("version {schema_version}: a newer twinlearn wrote it; install that"),
            ));
        }
        let metadata: Metadata = serde_json::from_str(json).map_err(broken)?;
        let params = Params::try_from(metadata.hyperparameters).map_err(|e| foreign(&e))?;

        let mut arrays = Arrays { tensors: &tensors, used: 0 };
        let d = params.n_components;
        let encoder =
            arrays.network("encoder", &params.encoder, &params, metadata.n_features, d)?;
        let projector = match &params.projector {
            Some(spec) if metadata.has_projector => {
                Some(arrays.network("projector", spec, &params, d, spec.projector_width(d))?)
            }
            _ => None,
        };
        if arrays.used != tensors.len() {
            return Err((
                format!("{} arrays for this architecture", arrays.used),
                tensors.len().to_string(),
            ));
        }
        Ok(Self::new(params, encoder, projector, metadata.training))
    }
}

struct Arrays<'a> {
    tensors: &'a SafeTensors<'a>,
    used: usize,
}

impl Arrays<'_> {
    fn network(
        &mut self,
        prefix: &str,
        spec: &NetworkSpec,
        params: &Params,
        input: usize,
        output: usize,
    ) -> std::result::Result<Network<f32>, (String, String)> {
        // A lying header must not make us allocate more than the file holds.
        let stored: usize = self.tensors.iter().map(|(_, t)| t.data().len() / 4).sum();
        let needed = weights(spec, input, output);
        if input == 0 || needed.is_none_or(|needed| needed > stored) {
            return Err((
                format!("the weights of {prefix} {spec} from {input} to {output}"),
                format!("{stored} numbers in all"),
            ));
        }
        let mut network = Network::zeros(spec, params.norm_layer, input, output);
        let names: Vec<(String, Vec<usize>)> = network
            .parameters()
            .into_iter()
            .chain(network.buffers())
            .map(|(name, shape, _)| (format!("{prefix}.{name}"), shape))
            .collect();
        let (parameters, buffers) = network.state_mut();
        for (named, values) in names.iter().zip(parameters.into_iter().chain(buffers)) {
            self.fill(named, values)?;
            if named.0.ends_with("running_var")
                && let Some(bad) = values.iter().find(|&&v| v < 0.0)
            {
                return Err((format!("variances from 0 in {}", named.0), bad.to_string()));
            }
        }
        Ok(network)
    }

    fn fill(
        &mut self,
        (name, shape): &(String, Vec<usize>),
        values: &mut [f32],
    ) -> std::result::Result<(), (String, String)> {
        let wanted = || format!("{name} as f32 of shape {shape:?}");
        let tensor = self.tensors.tensor(name).map_err(|_| (wanted(), "no such array".into()))?;
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
}

/// The number of weights (biases and norms left out) of a network, if it can be counted.
fn weights(spec: &NetworkSpec, input: usize, output: usize) -> Option<usize> {
    let mut total = 0usize;
    let mut width = input;
    for &next in spec.hidden().iter().chain([&output]) {
        total = total.checked_add(width.checked_mul(next)?)?;
        width = next;
    }
    Some(total)
}
