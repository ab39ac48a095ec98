//! What a long operation reports while it runs: stages, steps, plans and warnings.

use std::fmt;
use std::time::Duration;

use crate::memory::megabytes;

/// A part of the work that takes long enough to be shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Stage {
    /// Vectors are read from files; counted in rows.
    Load,
    /// Every value is checked to be finite; counted in rows.
    Check,
    /// The nearest-neighbour graph; counted in rows.
    Knn,
    /// Mean and covariance for PCA; counted in rows.
    Pca,
    /// The covariance of rows with their neighbours; counted in rows.
    Spectral,
    /// The short race before training; counted in steps.
    Choose,
    /// Training; counted in steps.
    Train,
    /// Training the linear encoder that one with hidden layers begins with.
    Linear,
    /// Training on for nested sizes.
    Nest,
    /// The same fit on rows alone, to tell what training on queries is worth.
    Compare,
    /// The principal axes of the reduced vectors; counted in rows.
    Whiten,
    /// Held-out recall while fitting, counted in rows; what reductions keep, counted in reductions.
    Evaluate,
    /// Dimensions tried, at most so many.
    Advise,
    /// Learning the books of a product code; counted in rows.
    Codes,
    /// Encoding rows; counted in rows.
    Transform,
}

impl Stage {
    /// A short lower-case name, e.g. `knn`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Load => "load",
            Self::Check => "check",
            Self::Knn => "knn",
            Self::Pca => "pca",
            Self::Spectral => "spectral",
            Self::Choose => "choose",
            Self::Train => "train",
            Self::Linear => "linear",
            Self::Nest => "nest",
            Self::Compare => "compare",
            Self::Whiten => "whiten",
            Self::Evaluate => "evaluate",
            Self::Advise => "advise",
            Self::Codes => "codes",
            Self::Transform => "transform",
        }
    }
}

/// One optimiser step, as reported to an [`Observer`].
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
pub struct StepReport {
    /// Steps done so far, this one included (1-based).
    pub step: usize,
    /// The epoch this step belongs to (0-based).
    pub epoch: usize,
    /// The loss of this batch, scaled as it is minimised.
    pub loss: f64,
    /// The part of `loss` from the diagonal of the cross-correlation matrix; 0 under other losses.
    pub on_diagonal: f64,
    /// The part of `loss` from off the diagonal; 0 under other losses.
    pub off_diagonal: f64,
    /// The learning rate of this step.
    pub learning_rate: f64,
    /// Anchors handled per second in this step.
    pub rows_per_second: f64,
}

/// One pass over the anchors, as reported to an [`Observer`].
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
pub struct EpochReport {
    /// Epochs done so far, this one included (1-based).
    pub epoch: usize,
    /// Steps done so far.
    pub step: usize,
    /// The mean loss of its steps.
    pub loss: f64,
    /// recall@10 on the held-out rows; none without them and in the reference recipe.
    pub recall: Option<f64>,
    /// Whether that is the best so far, the start included.
    pub is_best: bool,
}

/// How work will be done, as it is reported before it begins.
///
/// ```
/// use twinlearn_core::progress::Plan;
/// let plan = Plan {
///     what: "exact neighbours of 45000 rows".to_owned(),
///     details: "384 dimensions, bounded by 64 leading axes".to_owned(),
///     bytes: 119_000_000,
///     seconds: 3.1,
/// };
/// assert_eq!(plan.to_string(), "exact neighbours of 45000 rows, about 3 s, 119 MB");
/// assert_eq!(
///     format!("{plan:#}"),
///     "exact neighbours of 45000 rows, about 3 s, 119 MB (384 dimensions, bounded by 64 leading axes)"
/// );
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// What is done, of how many rows.
    pub what: String,
    /// By which method and sizes, in how many passes over the rows.
    pub details: String,
    /// Bytes of working memory, beside the vectors.
    pub bytes: usize,
    /// Estimated seconds.
    pub seconds: f64,
}

/// What, how long, how much memory; `{:#}` adds the details.
impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { what, details, bytes, seconds } = self;
        write!(f, "{what}, about {}, {} MB", in_words(*seconds), megabytes(*bytes))?;
        if f.alternate() { write!(f, " ({details})") } else { Ok(()) }
    }
}

/// An estimate of time.
fn in_words(seconds: f64) -> String {
    match seconds {
        s if s < 100.0 => format!("{:.0} s", s.max(1.0)),
        s if s < 6000.0 => format!("{:.0} min", s / 60.0),
        s => format!("{:.0} h", s / 3600.0),
    }
}

/// What a long operation reports while it runs.
#[derive(Debug)]
#[non_exhaustive]
pub enum Event<'a> {
    /// A stage begins; `total` is in the stage's own unit.
    StageStarted {
        /// Which.
        stage: Stage,
        /// How many units it has.
        total: usize,
    },
    /// `done` units of a stage are finished.
    StageProgress {
        /// Which.
        stage: Stage,
        /// Units finished so far.
        done: usize,
    },
    /// A stage is over.
    StageFinished {
        /// Which.
        stage: Stage,
        /// How long it took.
        elapsed: Duration,
    },
    /// One training step is done.
    Step(&'a StepReport),
    /// One epoch is done.
    Epoch(&'a EpochReport),
    /// How the work that follows will be done.
    Plan(&'a Plan),
    /// Something that was found or decided on the way, in one line.
    Note(&'a str),
    /// Something the user should know that does not stop the work.
    Warning(&'a str),
}

/// A sink for progress. It is called from the thread that called the library and from its worker
/// threads, so it must be quick and must not panic.
pub trait Observer: Send + Sync {
    /// Called for every event.
    fn on_event(&self, event: &Event<'_>);
}

/// The observer that listens to nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silent;

impl Observer for Silent {
    fn on_event(&self, _: &Event<'_>) {}
}
