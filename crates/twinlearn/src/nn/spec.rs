//! Architecture strings: `linear`, `flinear-H-W`, `mlp-H-W`.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use twinlearn_core::error::{Error, Result};
use twinlearn_core::names::named;
use twinlearn_core::names::parse_digits;

/// The three families of networks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NetworkKind {
    /// One linear layer with bias.
    Linear,
    /// Hidden layers of linear (with bias) and norm; linear output with bias. A factorised linear
    /// map: with batch norm it folds to one matrix.
    FactorisedLinear,
    /// Hidden layers of linear (no bias), norm and ReLU; linear output without bias.
    Mlp,
}

impl NetworkKind {
    fn prefix(self) -> &'static str {
        match self {
            Self::Linear => "linear",
            Self::FactorisedLinear => "flinear",
            Self::Mlp => "mlp",
        }
    }
}

/// The normalisation of hidden layers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum NormLayer {
    /// Batch normalisation: each feature over the batch.
    #[default]
    #[serde(rename = "BN")]
    Batch,
    /// Layer normalisation: each row over its features.
    #[serde(rename = "LN")]
    Layer,
}

named!(NormLayer, "norm_layer", "BN or LN", Batch = "BN", Layer = "LN");

/// A network's family and the widths of its hidden layers.
///
/// Written `linear`, `flinear-H-W` or `mlp-H-W`: H hidden layers of width W. H may also be
/// followed by one width for each layer: `mlp-2-512-256`.
///
/// ```
/// use twinlearn::NetworkSpec;
/// let spec: NetworkSpec = "mlp-2-512-256".parse()?;
/// assert_eq!(spec.hidden(), [512, 256]);
/// assert_eq!("mlp-2-512-512".parse::<NetworkSpec>()?.to_string(), "mlp-2-512");
/// assert!("mlp-3-512-256".parse::<NetworkSpec>().is_err());
/// # Ok::<(), twinlearn::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NetworkSpec {
    kind: NetworkKind,
    hidden: Vec<usize>,
}

/// More is a typing error: it would be hundreds of gigabytes of weights.
const MAX_LAYERS: usize = 64;
const MAX_WIDTH: usize = 1 << 18;

impl NetworkSpec {
    /// The network without hidden layers.
    #[must_use]
    pub fn linear() -> Self {
        Self { kind: NetworkKind::Linear, hidden: Vec::new() }
    }

    /// The family.
    #[must_use]
    pub fn kind(&self) -> NetworkKind {
        self.kind
    }

    /// The widths of the hidden layers, first to last; empty for `linear`.
    #[must_use]
    pub fn hidden(&self) -> &[usize] {
        &self.hidden
    }

    /// The number of weights (biases and norms left out) from one width to another, if it can be
    /// counted.
    pub(crate) fn n_weights(&self, input: usize, output: usize) -> Option<usize> {
        let mut total = 0usize;
        let mut width = input;
        for &next in self.hidden.iter().chain([&output]) {
            total = total.checked_add(width.checked_mul(next)?)?;
            width = next;
        }
        Some(total)
    }

    /// Whether its hidden layers can carry `d` numbers from input to output unchanged: batch norm
    /// keeps what is standardised, and a ReLU lets each number through in two halves.
    pub(crate) fn carries(&self, d: usize, norm: NormLayer) -> bool {
        let needed = if self.kind == NetworkKind::Mlp { 2 * d } else { d };
        let wide = self.hidden.iter().all(|&width| width >= needed);
        wide && (self.hidden.is_empty() || norm == NormLayer::Batch)
    }

    /// The output width of this network as a projector of `d` dimensions: its last hidden width,
    /// or `d` when it is linear.
    pub(crate) fn projector_width(&self, d: usize) -> usize {
        self.hidden.last().copied().unwrap_or(d)
    }

    fn parse(s: &str) -> std::result::Result<Self, String> {
        let mut parts = s.split('-');
        let kind = match parts.next() {
            Some("linear") => NetworkKind::Linear,
            Some("flinear") => NetworkKind::FactorisedLinear,
            Some("mlp") => NetworkKind::Mlp,
            _ => return Err("linear, flinear-H-W or mlp-H-W".to_owned()),
        };
        let numbers: Option<Vec<usize>> = parts.map(parse_digits).collect();
        let prefix = kind.prefix();
        if kind == NetworkKind::Linear {
            return match numbers.as_deref() {
                Some([]) => Ok(Self::linear()),
                _ => Err("linear alone (flinear-H-W and mlp-H-W have hidden layers)".to_owned()),
            };
        }
        let Some([layers, widths @ ..]) = numbers.as_deref() else {
            return Err(format!(
                "{prefix}-H-W with H hidden layers of width W, e.g. {prefix}-1-512"
            ));
        };
        if *layers == 0 || *layers > MAX_LAYERS {
            return Err(format!("{prefix}-H-W with H from 1 to {MAX_LAYERS}"));
        }
        let hidden = match widths {
            [width] => vec![*width; *layers],
            _ if widths.len() == *layers => widths.to_vec(),
            _ => {
                let number = match layers {
                    1 => "1 width".to_owned(),
                    _ => format!("1 or {layers} widths"),
                };
                return Err(format!("{prefix}-{layers} to be followed by {number}"));
            }
        };
        if hidden.iter().any(|&w| w == 0 || w > MAX_WIDTH) {
            return Err(format!("hidden widths from 1 to {MAX_WIDTH}"));
        }
        Ok(Self { kind, hidden })
    }

    /// Parses an architecture string; the error calls it `name`, e.g. `encoder`.
    ///
    /// # Errors
    /// When the string is not of the form above; the message says which form was expected.
    pub fn parse_named(name: &str, s: &str) -> Result<Self> {
        Self::parse(s).map_err(|expected| Error::invalid(name, expected, format_args!("{s:?}")))
    }
}

impl fmt::Display for NetworkSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.kind.prefix())?;
        let Some(first) = self.hidden.first() else { return Ok(()) };
        write!(f, "-{}", self.hidden.len())?;
        let widths = if self.hidden.iter().all(|w| w == first) { 1 } else { self.hidden.len() };
        self.hidden[..widths].iter().try_for_each(|w| write!(f, "-{w}"))
    }
}

impl FromStr for NetworkSpec {
    type Err = Error;

    fn from_str(s: &str) -> Result<Self> {
        Self::parse_named("architecture", s)
    }
}

impl Serialize for NetworkSpec {
    fn serialize<S: serde::Serializer>(
        &self,
        serializer: S,
    ) -> std::result::Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for NetworkSpec {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> std::result::Result<Self, D::Error> {
        String::deserialize(d)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn specs() -> impl Strategy<Value = NetworkSpec> {
        let hidden = prop::collection::vec(1usize..5000, 1..5);
        (any::<bool>(), hidden).prop_map(|(mlp, hidden)| NetworkSpec {
            kind: if mlp { NetworkKind::Mlp } else { NetworkKind::FactorisedLinear },
            hidden,
        })
    }

    proptest! {
        #[test]
        fn display_round_trips(spec in specs()) {
            prop_assert_eq!(spec.to_string().parse::<NetworkSpec>().unwrap(), spec);
        }

        #[test]
        fn one_width_stands_for_all(layers in 1usize..=MAX_LAYERS, width in 1usize..=MAX_WIDTH) {
            let spec: NetworkSpec = format!("mlp-{layers}-{width}").parse().unwrap();
            prop_assert_eq!(spec.hidden(), vec![width; layers]);
        }

        #[test]
        fn any_other_count_is_refused(layers in 1usize..9, widths in 2usize..12) {
            prop_assume!(layers != widths);
            let text = format!("flinear-{layers}{}", "-7".repeat(widths));
            let message = text.parse::<NetworkSpec>().unwrap_err().to_string();
            let number = if layers == 1 { "1 width".into() } else { format!("1 or {layers} widths") };
            let want = format!("flinear-{layers} to be followed by {number}");
            prop_assert!(message.contains(&want), "{message}");
        }

        #[test]
        fn nothing_panics(text in "(linear|flinear|mlp)?[-0-9a-z+ ]{0,30}") {
            if let Ok(spec) = text.parse::<NetworkSpec>() {
                prop_assert!(spec.hidden().iter().all(|&w| w > 0));
            }
        }
    }

    #[test]
    fn what_was_expected_is_said() {
        let error = |s: &str| NetworkSpec::parse_named("encoder", s).unwrap_err().to_string();
        assert_eq!(error("foo"), "encoder: expected linear, flinear-H-W or mlp-H-W, got \"foo\"");
        assert_eq!(
            error("mlp"),
            "encoder: expected mlp-H-W with H hidden layers of width W, e.g. mlp-1-512, got \"mlp\""
        );
        assert_eq!(
            error("mlp-0-8"),
            "encoder: expected mlp-H-W with H from 1 to 64, got \"mlp-0-8\""
        );
        assert_eq!(
            error("linear-1-8"),
            "encoder: expected linear alone (flinear-H-W and mlp-H-W have hidden layers), got \"linear-1-8\""
        );
        assert_eq!(
            error("mlp-1-0"),
            "encoder: expected hidden widths from 1 to 262144, got \"mlp-1-0\""
        );
    }
}
