//! What a run keeps in its folder, from which it is resumed after an interruption.
//!
//! `latest.safetensors` holds everything that later steps depend on, as it was at the end of an
//! epoch: networks, optimiser, the best moment so far. Random numbers need no state: each epoch
//! has streams of its own. `knn.npy` is the graph, and `run.json` says whose, for a run that is broken
//! off before its first checkpoint. `best.safetensors` is the model of the best moment,
//! `final.safetensors` the model of the whole run. While a run goes on it holds a lock of the folder.

use std::collections::BTreeSet;
use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use twinlearn_core::context::Context;
use twinlearn_core::error::{Error, Result};
use twinlearn_knn::KnnGraph;
use twinlearn_vectors::{
    Mismatch, Named, OutputFile, Tensors, UNSEALED, read_integers, tensors_to_bytes,
    write_npy_integers,
};

use super::mean::Mean;
use super::state::{Best, Progress};
use super::step::Learner;
use crate::model::Model;
use crate::params::{Hyperparameters, Params};

const SCHEMA_VERSION: u32 = 4;

/// What is read here.
const CHECKPOINT: &str = "a checkpoint of twinlearn";

/// Where and how often a run is kept.
///
/// ```
/// use twinlearn::{Checkpoints, Params, Trainer};
/// let trainer = Trainer::new(Params::builder().build()?)
///     .checkpoints(Checkpoints::new("runs/first").every(2).resume(true));
/// # let _ = trainer;
/// # Ok::<(), twinlearn::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Checkpoints {
    folder: PathBuf,
    every: usize,
    resume: bool,
}

impl Checkpoints {
    /// In this folder, which is made where there is none, after every epoch, for a new run.
    #[must_use]
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self { folder: folder.into(), every: 1, resume: false }
    }

    /// After every so many epochs; the last one is always kept. 0 counts as 1.
    #[must_use]
    pub fn every(mut self, epochs: usize) -> Self {
        self.every = epochs.max(1);
        self
    }

    /// Whether to go on with the run in the folder. Where there is none yet, one begins.
    #[must_use]
    pub fn resume(mut self, resume: bool) -> Self {
        self.resume = resume;
        self
    }
}

/// By what a run is known again.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Identity {
    pub(super) n_rows: usize,
    pub(super) n_features: usize,
    /// CRC-32 of the rows, of the graph, of the model that it starts from and of the rows watched.
    pub(super) rows: u32,
    pub(super) graph: Option<u32>,
    pub(super) model: Option<u32>,
    #[serde(default)]
    pub(super) validation: Option<u32>,
    #[serde(default)]
    pub(super) queries: Option<u32>,
    pub(super) hyperparameters: Hyperparameters,
}

#[derive(Serialize, Deserialize)]
struct Metadata {
    schema_version: u32,
    /// CRC-32 of the file.
    checksum: String,
    producer: String,
    state: State,
}

#[derive(Deserialize)]
struct Version {
    schema_version: u32,
}

#[derive(Serialize, Deserialize)]
struct State {
    identity: Identity,
    /// Those of the run, with what was chosen before it began.
    hyperparameters: Hyperparameters,
    progress: Progress,
    /// The optimiser's count of steps.
    count: Option<u32>,
    best: Option<BestRecord>,
    best_has_projector: bool,
}

#[derive(Serialize, Deserialize)]
struct BestRecord {
    recall: f64,
    step: usize,
    epoch: usize,
}

/// The folder of a run.
pub(super) struct Keeper<'a> {
    options: &'a Checkpoints,
    pub(super) identity: Identity,
    /// What `latest` held when the run was resumed, and its bytes with the arrays.
    latest: Option<(State, Vec<u8>)>,
    /// Held while the run goes on.
    _lock: Option<File>,
}

impl<'a> Keeper<'a> {
    /// Opens the folder; a run in it must be the one that `identity`, still without a graph, says.
    pub(super) fn open(
        ctx: &Context,
        options: &'a Checkpoints,
        identity: Identity,
    ) -> Result<Self> {
        let folder = &options.folder;
        std::fs::create_dir_all(folder).map_err(|e| Error::io(folder, "create", e))?;
        let lock = lock(folder)?;
        let mut keeper = Self { options, identity, latest: None, _lock: lock };
        let path = keeper.path("latest.safetensors");
        if !path.exists() {
            if options.resume {
                ctx.warn(&format!("{}: no checkpoint yet: a new run begins", folder.display()));
            }
            return Ok(keeper);
        }
        if !options.resume {
            return Err(Error::file(
                folder,
                "a folder without a run, or resume to go on with it",
                "one with a run",
            ));
        }
        let bytes = std::fs::read(&path).map_err(|e| Error::io(&path, "read", e))?;
        let metadata = parse(&bytes).map_err(|(e, a)| Error::file(&path, e, a))?;
        let producer = producer();
        if metadata.producer != producer {
            ctx.warn(&format!(
                "{}: written by {}: {producer} may end with other last bits",
                path.display(),
                metadata.producer
            ));
        }
        let state = metadata.state;
        keeper.same(&path, &state.identity)?;
        if let Some([then, now]) = keeper.lengthened(&state.identity) {
            ctx.warn(&format!(
                "{}: lengthened from {then} to {now} epochs: from here on the learning rate is that of \
                 a run of {now}",
                folder.display()
            ));
        }
        keeper.latest = Some((state, bytes));
        Ok(keeper)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.options.folder.join(name)
    }

    /// Refuses what another run left. The graph is compared when it is known.
    fn same(&self, path: &Path, kept: &Identity) -> Result<()> {
        let own = &self.identity;
        let fail = |expected: String, actual: String| Err(Error::file(path, expected, actual));
        if (own.n_rows, own.n_features) != (kept.n_rows, kept.n_features) {
            return fail(
                format!("a run on {} × {} vectors", own.n_rows, own.n_features),
                format!("one on {} × {}", kept.n_rows, kept.n_features),
            );
        }
        if own.rows != kept.rows {
            return fail("a run on these vectors".into(), "one on vectors of other values".into());
        }
        if own.model != kept.model {
            return fail("a run from this start".into(), "one from another model".into());
        }
        if own.validation != kept.validation {
            return fail("a run with these validation rows".into(), "one with others".into());
        }
        if own.queries != kept.queries {
            let of = |queries: Option<u32>| if queries.is_some() { "these" } else { "no" };
            let expected = format!("a run for {} queries", of(own.queries));
            let actual = if kept.queries.is_some() { "one for others" } else { "one for none" };
            return fail(expected, actual.into());
        }
        if let (Some(own), Some(kept)) = (own.graph, kept.graph)
            && own != kept
        {
            return fail("a run on this neighbour graph".into(), "one on another".into());
        }
        let is_longer = self.lengthened(kept).is_some();
        let json = |h: &Hyperparameters| serde_json::to_value(h).unwrap_or_default();
        let (own, kept) = (json(&own.hyperparameters), json(&kept.hyperparameters));
        let names = [&own, &kept].into_iter().filter_map(|h| h.as_object()).flat_map(|h| h.keys());
        let differ =
            |name: &&String| own.get(*name) != kept.get(*name) && !(*name == "epochs" && is_longer);
        let names: BTreeSet<&String> = names.filter(differ).collect();
        if names.is_empty() {
            return Ok(());
        }
        let listed = |of: &serde_json::Value| {
            let named = |name: &&String| match of.get(*name) {
                Some(serde_json::Value::String(text)) => format!("{name} {text}"),
                Some(serde_json::Value::Null) | None => format!("{name} none"),
                Some(value) => format!("{name} {value}"),
            };
            names.iter().map(named).collect::<Vec<_>>().join(", ")
        };
        // A run goes on with the options that it was begun with, given again.
        fail(format!("the options that the run was begun with, {}", listed(&kept)), listed(&own))
    }

    /// How many epochs the run in the folder was to have, and how many now, where these are more.
    fn lengthened(&self, kept: &Identity) -> Option<[usize; 2]> {
        let [then, now] = [kept, &self.identity].map(|of| of.hyperparameters.epochs);
        Some([then?, now?]).filter(|[then, now]| now > then)
    }

    /// Whether the resumed run is to have more epochs than it had.
    pub(super) fn is_lengthened(&self) -> bool {
        let kept = self.latest.as_ref().map(|(state, _)| &state.identity);
        kept.is_some_and(|kept| self.lengthened(kept).is_some())
    }

    /// The graph of the resumed run, if it is there; `anchors`, where they alone have lists.
    pub(super) fn graph(&self, anchors: Option<&[u32]>) -> Result<Option<KnnGraph>> {
        let path = self.path("knn.npy");
        let begun = match &self.latest {
            Some((state, _)) => Some(state.identity.clone()),
            None if self.options.resume => self.begun(),
            None => None,
        };
        let Some(begun) = begun.filter(|_| path.exists()) else { return Ok(None) };
        let (shape, indices) = read_integers(&path)?;
        let n_lists = shape.first().copied().unwrap_or_default();
        let graph = match anchors {
            None => KnnGraph::from_indices(n_lists, &indices)?,
            Some(anchors) => {
                // What is no row is beyond them all.
                let id = |&index: &i64| u32::try_from(index).unwrap_or(u32::MAX);
                let ids = indices.iter().map(id).collect();
                match KnnGraph::of_anchors(self.identity.n_rows, anchors, ids) {
                    Ok(graph) => graph,
                    // Lists for other anchors are those of another run.
                    Err(_) => return Ok(None),
                }
            }
        };
        // Another run may have written its own and ended before it said so.
        Ok(Some(graph).filter(|graph| begun.graph == Some(checksum(graph))))
    }

    /// The run that found the graph in the folder, where it is this one and made no checkpoint.
    fn begun(&self) -> Option<Identity> {
        let text = std::fs::read(self.path("run.json")).ok()?;
        let begun: Identity = serde_json::from_slice(&text).ok()?;
        let own = Identity { graph: begun.graph, ..self.identity.clone() };
        (own == begun).then_some(begun)
    }

    /// Takes note of the graph and, where it is the run's own, keeps it.
    pub(super) fn set_graph(&mut self, graph: &KnnGraph, given: bool) -> Result<()> {
        self.identity.graph = Some(checksum(graph));
        if let Some((state, _)) = &self.latest {
            self.same(&self.path("latest.safetensors"), &state.identity)?;
        } else if !given {
            let file = OutputFile::create(self.path("knn.npy"))?;
            // Lists of anchors alone are all of one length too.
            write_npy_integers(file, graph.ids().len() / graph.k(), &graph.to_indices())?;
            let fail = |e| Error::invalid("checkpoint", "values that can be stored", e);
            let text = serde_json::to_vec_pretty(&self.identity).map_err(fail)?;
            let mut file = OutputFile::create(self.path("run.json"))?;
            file.write_all(&text)?;
            file.commit()?;
        }
        Ok(())
    }

    /// Whether the end of this epoch (counted from 1) is one to keep.
    pub(super) fn is_due(&self, epoch: usize) -> bool {
        epoch.is_multiple_of(self.options.every)
    }

    /// Writes `latest`.
    pub(super) fn save(
        &self,
        params: &Params,
        progress: &Progress,
        learner: &mut Learner,
        mean: &mut Mean,
        best: Option<&mut Best>,
    ) -> Result<()> {
        let (count, mut arrays) = learner.state_mut();
        let count = count.copied();
        let mut record = None;
        let mut best_has_projector = false;
        if let Some(best) = best {
            let Best { recall, step, epoch, networks } = best;
            record = Some(BestRecord { recall: *recall, step: *step, epoch: *epoch });
            best_has_projector = networks.projector.is_some();
            arrays.extend(networks.arrays_mut("best"));
        }
        arrays.extend(mean.arrays_mut());
        let arrays: Vec<Named<&[f32]>> =
            arrays.into_iter().map(|(name, shape, values)| (name, shape, &*values)).collect();
        let state = State {
            identity: self.identity.clone(),
            hyperparameters: Hyperparameters::clone(params),
            progress: progress.clone(),
            count,
            best: record,
            best_has_projector,
        };
        let fail = |e| Error::invalid("checkpoint", "values that can be stored", e);
        let metadata = Metadata {
            schema_version: SCHEMA_VERSION,
            checksum: UNSEALED.to_owned(),
            producer: producer(),
            state,
        };
        let json = serde_json::to_string(&metadata).map_err(fail)?;
        let mut file = OutputFile::create(self.path("latest.safetensors"))?;
        file.write_all(&tensors_to_bytes(&arrays, json)?)?;
        file.commit()
    }

    /// Writes a model.
    pub(super) fn save_model(&self, name: &str, model: &Model) -> Result<()> {
        model.save(self.path(name))
    }

    /// The parameters of the resumed run, with what was chosen before it began.
    pub(super) fn params(&self, asked: &Params) -> Option<Params> {
        let (state, _) = self.latest.as_ref()?;
        let epochs = asked.epochs;
        Some(asked.changed(|p| *p = Hyperparameters { epochs, ..state.hyperparameters.clone() }))
    }

    /// Where the resumed run had stopped.
    pub(super) fn progress(&self) -> Result<Option<Progress>> {
        self.read(|state, _| Ok(state.progress.clone()))
    }

    /// Brings learner and best moment to where they were.
    pub(super) fn restore(
        &self,
        ctx: &Context,
        learner: &mut Learner,
        mean: &mut Mean,
    ) -> Result<Option<Option<Best>>> {
        self.read(|state, bytes| {
            let mut file = Tensors::parse(bytes, CHECKPOINT)?;
            let (count, arrays) = learner.state_mut();
            for (name, shape, values) in arrays {
                file.fill(&name, &shape, values)?;
            }
            if let (Some(count), Some(kept)) = (count, state.count) {
                *count = kept;
            }
            for (name, shape, values) in mean.arrays_mut() {
                file.fill(&name, &shape, values)?;
            }
            let Some(record) = &state.best else {
                file.finish()?;
                return Ok(None);
            };
            let mut networks = learner.networks(ctx, state.best_has_projector);
            for (name, shape, values) in networks.arrays_mut("best") {
                file.fill(&name, &shape, values)?;
            }
            file.finish()?;
            let &BestRecord { recall, step, epoch } = record;
            Ok(Some(Best { networks, recall, step, epoch }))
        })
    }

    fn read<R>(
        &self,
        work: impl FnOnce(&State, &[u8]) -> std::result::Result<R, Mismatch>,
    ) -> Result<Option<R>> {
        let Some((state, bytes)) = &self.latest else { return Ok(None) };
        let path = self.path("latest.safetensors");
        work(state, bytes)
            .map(Some)
            .map_err(|(expected, actual)| Error::file(&path, expected, actual))
    }
}

/// Locks the folder for this run; the system lets go of it when the process ends, however it does.
/// None where folders cannot be locked.
fn lock(folder: &Path) -> Result<Option<File>> {
    let Ok(file) = File::open(folder) else { return Ok(None) };
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => {
            Err(Error::file(folder, "a folder in which no run is going on", "one with a run"))
        }
        Err(TryLockError::Error(_)) => Ok(None),
    }
}

fn checksum(graph: &KnnGraph) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    for row in 0..graph.n_rows() {
        let list = graph.neighbors(row);
        hasher.update(&(list.len() as u64).to_le_bytes());
        hasher.update(bytemuck::cast_slice(list));
    }
    hasher.finalize()
}

fn producer() -> String {
    concat!("twinlearn ", env!("CARGO_PKG_VERSION")).to_owned()
}

/// The metadata of a whole and undamaged checkpoint.
fn parse(bytes: &[u8]) -> std::result::Result<Metadata, Mismatch> {
    let file = Tensors::parse(bytes, CHECKPOINT)?;
    let foreign = |e| (CHECKPOINT.to_owned(), format!("metadata with {e}"));
    let Version { schema_version } = serde_json::from_str(&file.json).map_err(foreign)?;
    if schema_version != SCHEMA_VERSION {
        let expected = format!("a checkpoint of schema version {SCHEMA_VERSION}");
        let actual = format!("{schema_version}: end the run with the twinlearn that began it");
        return Err((expected, actual));
    }
    if !file.is_sealed {
        return Err((CHECKPOINT.to_owned(), "one without a checksum".to_owned()));
    }
    serde_json::from_str(&file.json).map_err(foreign)
}

/// By what the model that a run starts from is known again.
pub(super) fn model_checksum(model: &Model) -> Result<u32> {
    Ok(crc32fast::hash(&model.to_bytes()?))
}
