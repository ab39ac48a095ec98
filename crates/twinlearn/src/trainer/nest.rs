//! Nested sizes: the first numbers of reduced vectors as reductions of their own.
//!
//! What similarities are left alone by are rotations, so a trained encoder is first turned to the
//! principal axes of what it gives, which loses nothing. Then it is trained on, with the losses of the
//! prefixes added to that of the whole. Kept is the moment (a step, the mean, a point between start
//! and end) that keeps most neighbours over all sizes, of those that keep at d what was kept before,
//! but for [`TOLERANCE`].

use twinlearn_core::error::Result;
use twinlearn_core::progress::Stage;
use twinlearn_vectors::Subset;

use super::run::Run;
use super::setting::Setting;
use super::state::Trained;
use super::step::Networks;
use super::tuner::tuned;
use super::validation::turned_to_axes;
use crate::params::Init;

/// What held-out recall at d may lose.
const TOLERANCE: f64 = 0.0035;

/// What `trained` becomes.
pub(super) fn nested(run: &Run<'_>, trained: Trained) -> Result<Trained> {
    let ctx = &run.ctx.quiet();
    run.ctx.stage(Stage::Nest, 1, || {
        let Trained { params: before, networks, record } = trained;
        let rows = Subset::new(run.finish.x, run.finish.base)?;
        let turned = turned_to_axes(ctx, &rows, networks.encoder.clone())?;
        let kept = run.watch.map(|watch| watch.recall_of(ctx, &turned)).transpose()?;
        let least = kept.unwrap_or_default() - TOLERANCE;
        let watch = run.watch.map(|watch| watch.nested(&before.nested, least));
        // An encoder that is gone on from may have good prefixes as it is.
        let encoder = match (&watch, before.init) {
            (Some(watch), Init::Model)
                if watch.recall_of(ctx, &networks.encoder)? > watch.recall_of(ctx, &turned)? =>
            {
                networks.encoder
            }
            _ => turned,
        };
        let setting = Setting { ctx, nested: &before.nested, ..*run.setting };
        let (callbacks, keeper) = (None, None);
        let setting = &setting;
        let params = &before;
        let run = Run { params, ctx, setting, watch: watch.as_ref(), callbacks, keeper, ..*run };
        let recall = run.recall(&encoder)?;
        let start = Networks { encoder, projector: None };
        let params = tuned(&run, &start)?;
        let networks = Run { params: &params, ..run }.train(start, recall)?.networks;
        Ok(Trained { params: before.clone(), networks, record })
    })
}
