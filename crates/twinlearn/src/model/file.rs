//! The model file: safetensors with one metadata entry of JSON. Loading checks everything and
//! executes nothing.
//!
//! Schema versions: 1 has neither checksum nor ranges; 2 has both; in 3 the number of epochs, τ and
//! others may be none, and there may be an origin; 4 knows of codes.

use std::path::Path;

use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};
use twinlearn_core::error::{Error, Result};
use twinlearn_vectors::{Mismatch, OutputFile, Tensors, UNSEALED, check_regular, tensors_to_bytes};

use super::codes::Codes;
use super::{Model, Ranges, ScalarQuantiser, TrainingRecord};
use crate::nn::{Network, NetworkSpec};
use crate::params::{Hyperparameters, Params};

/// The version this crate writes, and the newest it reads.
const SCHEMA_VERSION: u32 = 4;
/// The first version with a checksum.
const SEALED_VERSION: u32 = 2;

/// What the names of models end in.
pub const MODEL_ENDING: &str = "safetensors";

/// What is read here.
const MODEL: &str = "a twinlearn model (.safetensors)";

/// The metadata. `schema_version` comes first and is read on its own before the rest.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Metadata {
    schema_version: u32,
    /// CRC-32 of the file.
    #[serde(default)]
    checksum: String,
    producer: String,
    n_features: usize,
    has_projector: bool,
    hyperparameters: Hyperparameters,
    training: TrainingRecord,
    #[serde(default)]
    has_ranges: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    origin: Option<Vec<f64>>,
    #[serde(default)]
    has_codes: bool,
    /// The centres of each group of the product code, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    n_centres: Option<usize>,
}

#[derive(Deserialize)]
struct Version {
    schema_version: u32,
    /// What a checkpoint has.
    state: Option<IgnoredAny>,
}

impl Model {
    /// Writes the model to `path`, replacing an older file only when the new one is whole. The
    /// bytes depend on nothing but the model.
    ///
    /// # Errors
    /// When the name of `path` has an ending other than `.safetensors` (or `.pth`), or the file
    /// cannot be written; an older one is then untouched.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        let path = path.as_ref();
        // The original's scripts say .pth.
        let mut file = OutputFile::create_as(path, &[MODEL_ENDING, "pth"])?;
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
        check_regular(path, "read", MODEL)?;
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
            checksum: UNSEALED.to_owned(),
            producer: concat!("twinlearn ", env!("CARGO_PKG_VERSION")).to_owned(),
            n_features: self.n_features(),
            has_projector: self.has_projector(),
            hyperparameters: Hyperparameters::clone(&self.params),
            training: self.training.clone(),
            has_ranges: self.ranges.is_some(),
            origin: self.origin.clone(),
            has_codes: self.codes.is_some(),
            n_centres: self.codes.as_ref().and_then(Codes::n_centres),
        };
        let fail = |e| Error::invalid("model", "values that can be stored", e);
        let json = serde_json::to_string(&metadata).map_err(fail)?;
        tensors_to_bytes(&self.arrays(), json)
    }

    /// Reads a model from the bytes of a model file.
    ///
    /// # Errors
    /// As [`load`](Self::load).
    pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
        Self::parse(bytes).map_err(|(expected, actual)| Error::invalid("model", expected, actual))
    }

    /// The error is what was expected and what came.
    fn parse(bytes: &[u8]) -> std::result::Result<Self, Mismatch> {
        let foreign = |actual: &dyn std::fmt::Display| (MODEL.to_owned(), actual.to_string());
        let mut arrays = Tensors::parse(bytes, MODEL)?;
        let broken = |e: serde_json::Error| foreign(&format_args!("metadata with {e}"));
        let Version { schema_version, state } =
            serde_json::from_str(&arrays.json).map_err(broken)?;
        if state.is_some() {
            return Err(foreign(&"a checkpoint, which a fit with resume goes on from"));
        }
        if schema_version > SCHEMA_VERSION {
            return Err((
                format!("a model of schema version up to {SCHEMA_VERSION}"),
                format!("version {schema_version}: a newer twinlearn wrote it; install that"),
            ));
        }
        if schema_version >= SEALED_VERSION && !arrays.is_sealed {
            return Err(foreign(&"one without a checksum"));
        }
        let metadata: Metadata = serde_json::from_str(&arrays.json).map_err(broken)?;
        let params = Params::try_from(metadata.hyperparameters).map_err(|e| foreign(&e))?;

        let (d, n_features) = (params.n_components, metadata.n_features);
        let encoder = network(&mut arrays, "encoder", &params.encoder, &params, [n_features, d])?;
        let projector = match &params.projector {
            Some(spec) if metadata.has_projector => {
                let width = params.projector_width(spec, n_features);
                Some(network(&mut arrays, "projector", spec, &params, [d, width])?)
            }
            _ => None,
        };
        let ranges = metadata.has_ranges.then(|| ranges(&mut arrays, d, &params.nested));
        let ranges = ranges.transpose()?;
        let codes =
            metadata.has_codes.then(|| Codes::read(&mut arrays, &params, metadata.n_centres));
        let codes = codes.transpose()?;
        arrays.finish()?;
        let origin = metadata.origin;
        if let Some(origin) = &origin
            && (origin.len() != n_features || origin.iter().any(|v| !v.is_finite()))
        {
            let expected = format!("an origin of {n_features} finite numbers");
            return Err((expected, format!("{} numbers", origin.len())));
        }
        Ok(Self {
            ranges,
            codes,
            origin,
            ..Self::new(params, encoder, projector, metadata.training)
        })
    }
}

fn ranges(
    arrays: &mut Tensors<'_>,
    d: usize,
    nested: &[usize],
) -> std::result::Result<Ranges, Mismatch> {
    let mut read = |name: &str, d: usize| {
        let mut values = vec![0.0; d];
        arrays.fill(name, &[d], &mut values).map(|()| values)
    };
    let mut quantiser = |name: &str, d: usize| {
        let (low, high) = (read(&format!("{name}.low"), d)?, read(&format!("{name}.high"), d)?);
        match low.iter().zip(&high).position(|(low, high)| low > high) {
            Some(j) => {
                Err((format!("a range in {name}"), format!("{} to {} at {j}", low[j], high[j])))
            }
            None => Ok(ScalarQuantiser { low, high }),
        }
    };
    let (plain, unit) = (quantiser("ranges", d)?, quantiser("unit_ranges", d)?);
    let nested = nested.iter().map(|&size| quantiser(&format!("unit_ranges_{size}"), size));
    Ok(Ranges { plain, unit, nested: nested.collect::<std::result::Result<_, _>>()? })
}

/// Reads a network of the given input and output widths.
fn network(
    arrays: &mut Tensors<'_>,
    prefix: &str,
    spec: &NetworkSpec,
    params: &Params,
    [input, output]: [usize; 2],
) -> std::result::Result<Network<f32>, Mismatch> {
    // A lying header must not make us allocate more than the file holds.
    let stored = arrays.n_values();
    let needed = spec.n_weights(input, output);
    if input == 0 || needed.is_none_or(|needed| needed > stored) {
        return Err((
            format!("the weights of {prefix} {spec} from {input} to {output}"),
            format!("{stored} numbers in all"),
        ));
    }
    let mut network = Network::zeros(spec, params.norm_layer, input, output);
    for (name, shape, values) in network.arrays_mut() {
        let name = format!("{prefix}.{name}");
        arrays.fill(&name, &shape, values)?;
        if name.ends_with("running_var")
            && let Some(bad) = values.iter().find(|&&v| v < 0.0)
        {
            return Err((format!("variances from 0 in {name}"), bad.to_string()));
        }
    }
    Ok(network)
}
