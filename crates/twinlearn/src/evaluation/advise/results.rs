//! What is asked of advice, and what it says.

use serde::{Deserialize, Serialize};
use twinlearn_core::error::{Error, Result};
use twinlearn_knn::Metric;

use super::super::curves::{PCA, TLDR};
use super::super::results::Curve;
use crate::estimate::Estimate;
use crate::params::{Params, Solver};

/// What is asked of advice.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Goal {
    /// To keep this share of the neighbours, between 0 and 1, in the fewest bytes.
    Keep(f64),
    /// To keep most neighbours in so many bytes a row.
    Bytes(usize),
}

impl Goal {
    pub(super) fn check(self) -> Result<()> {
        match self {
            Self::Keep(keep) if !(keep > 0.0 && keep < 1.0) => {
                Err(Error::invalid("keep", "a share between 0 and 1", keep))
            }
            Self::Bytes(0) => Err(Error::invalid("bytes", "at least 1 a row", 0)),
            _ => Ok(()),
        }
    }
}

/// What to do, in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// TLDR keeps more for a byte.
    Tldr,
    /// PCA needs hardly more bytes, or keeps hardly less in as many.
    PcaIsEnough,
    /// So does a byte for each number of the full vectors: databases have that.
    Int8IsEnough,
    /// So does a bit for each number of the full vectors: databases have that, too.
    SignsAreEnough,
    /// Nothing that is smaller keeps that share, or the vectors fit into so many bytes as they are.
    KeepAll,
}

/// A way to keep vectors.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Choice {
    /// `TLDR`, `PCA` (its form that keeps most) or `full vectors`.
    pub method: String,
    /// d.
    pub n_components: usize,
    /// How vectors are kept: `f32`, `int8`, `signs`, or codes of `sq1` to `sq8` or `pq:M`.
    pub format: String,
    /// Bytes of a vector.
    pub bytes_per_vector: usize,
    /// recall@k of the neighbours of the held-out rows that it was not chosen by; after candidates are put
    /// in order, where they are.
    pub recall: Estimate,
    /// The recall of what is advised minus this one's, row by row; none where it is this one.
    pub behind: Option<Estimate>,
}

/// What [`advise`](crate::advise) found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Advice {
    /// The share that was to be kept, if that was asked.
    pub keep: Option<f64>,
    /// The bytes that a vector may take, if that was asked.
    pub bytes: Option<usize>,
    /// Candidates that the full vectors put in order, if they do.
    pub candidates: Option<usize>,
    /// k.
    pub n_neighbors: usize,
    /// How near rows are.
    pub metric: Metric,
    /// The seed of samples and training.
    pub seed: u64,
    /// N.
    pub n_rows: usize,
    /// D.
    pub n_features: usize,
    /// The smallest d below D at which TLDR keeps the share as floats.
    pub n_components: Option<usize>,
    /// The same of PCA.
    pub pca_n_components: Option<usize>,
    /// Between which dimensions `n_components` lies: where the upper and the lower ends of the 95 %
    /// intervals of recall reach the share.
    pub n_components_interval: Option<[usize; 2]>,
    /// The same of PCA.
    pub pca_n_components_interval: Option<[usize; 2]>,
    /// What to take; none where the vectors should stay as they are.
    pub choice: Option<Choice>,
    /// The best of each method that there is: of TLDR, of PCA, of the full vectors as int8 and as signs.
    pub choices: Vec<Choice>,
    /// Bytes that a vector takes as `f32` now.
    pub bytes_per_vector: usize,
    /// Bytes that it would take.
    pub reduced_bytes_per_vector: usize,
    /// In one word.
    pub verdict: Verdict,
    /// In one sentence.
    pub sentence: String,
    /// Recall against dimension as floats, TLDR's first, then recall of other formats.
    pub curves: Vec<Curve>,
    /// What was sampled, in words.
    pub notes: Vec<String>,
}

impl Advice {
    /// The best way that a fit makes, also where something simpler is enough: of TLDR, or of PCA where that
    /// is enough beside it.
    #[must_use]
    pub fn fitted(&self) -> Option<&Choice> {
        let of = |name: &str| self.choices.iter().find(|choice| choice.method == name);
        match self.verdict {
            Verdict::PcaIsEnough => of(PCA),
            _ => of(TLDR).or(of(PCA)),
        }
    }

    /// What to fit with for [`fitted`](Self::fitted).
    ///
    /// # Errors
    /// Never of advice that [`advise`](crate::advise) gave.
    pub fn params(&self) -> Result<Option<Params>> {
        let Some(choice) = self.fitted() else { return Ok(None) };
        let solver = if choice.method == PCA { Solver::Pca } else { Solver::Sgd };
        let mut params = Params::builder()
            .n_components(choice.n_components)
            .metric(self.metric)
            .solver(solver)
            .seed(self.seed);
        if choice.format.starts_with("pq:") {
            params = params.codes(choice.format.parse()?);
        }
        params.build().map(Some)
    }
}
