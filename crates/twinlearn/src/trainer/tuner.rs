//! The tuner: what is not given is chosen before a run, by a short race that shows how low a temperature
//! may be and keep neighbours of held-out rows.
//!
//! The lower τ is, the longer it takes to learn and the more is kept at the end: of first steps that
//! keep about as much, those with the lowest τ are the better beginning.

use twinlearn_core::error::Result;
use twinlearn_core::progress::{Event, Stage};

use super::pace::{Length, rate, schedule};
use super::run::Run;
use super::step::Networks;
use crate::params::Params;

/// Steps of each that takes part, as a share of the run's and at most.
const SHARE: usize = 10;
const MOST: usize = 250;
/// Fewer tell nothing: the highest temperature, which is learned soonest, is then taken.
const LEAST: usize = 50;
/// What is tried for τ, in turn: shares of how much nearer neighbours are than other rows.
const TAUS: [f64; 5] = [0.1, 0.07, 0.05, 0.035, 0.025];
/// How much recall a lower τ may lack, times r(1 − r) where r is the best.
const TOLERANCE: f64 = 0.02;

/// The parameters of `run` with what is not given chosen; as they are where a loss needs no choice.
/// Every candidate makes the same first steps of the run under a schedule of its own.
pub(super) fn tuned(run: &Run<'_>, start: &Networks) -> Result<Params> {
    let Run { params, ctx, .. } = run;
    if !params.is_listed() {
        return Ok(Params::clone(params));
    }
    let learning_rate = params.learning_rate.unwrap_or_else(|| rate(params.n_components));
    let candidate =
        |tau| params.changed(|p| (p.tau, p.learning_rate) = (Some(tau), Some(learning_rate)));
    if let Some(tau) = params.tau {
        return Ok(candidate(tau));
    }
    let taus = TAUS.map(|share| share * run.setting.gap());
    let source = run.source(&start.encoder, run.batch());
    let length = Length::new(params, run.record.n_rows, source.steps_per_epoch())?;
    let steps = (length.steps() / SHARE).min(MOST);
    if run.watch.is_none() || steps < LEAST {
        return Ok(candidate(taus[0]));
    }
    let epochs = steps.div_ceil(length.per_epoch);
    ctx.stage(Stage::Choose, taus.len() * steps, || {
        let mut lowest = candidate(taus[0]);
        let mut peak = 0.0_f64;
        for (i, params) in taus.map(candidate).into_iter().enumerate() {
            let mut learner = run.setting.learner(&params, start.clone(), &source)?;
            let schedule = schedule(&params, source.batch, steps / 10, steps);
            source.feed(0..epochs, |feed| {
                for step in 0..steps {
                    let batch = feed.next()?;
                    run.step(&mut learner, &batch, step + 1, schedule.at(step))?;
                    feed.give_back(batch);
                    let done = i * steps + step + 1;
                    ctx.emit(&Event::StageProgress { stage: Stage::Choose, done });
                }
                Ok(())
            })?;
            let encoder = learner.into_networks(ctx).encoder;
            let recall = run.recall(&encoder)?.unwrap_or_default();
            if recall < peak - TOLERANCE * peak * (1.0 - peak) {
                break;
            }
            lowest = params;
            peak = peak.max(recall);
        }
        Ok(lowest)
    })
}
