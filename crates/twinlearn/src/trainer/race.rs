//! A short race before a run: how low a temperature may be and keep neighbours of held-out rows.
//!
//! The lower τ is, the longer it takes to learn and the more is kept at the end: of first steps that
//! keep about as much, those with the lowest τ are the better beginning.

use twinlearn_core::error::Result;
use twinlearn_core::progress::{Event, Stage};

use super::feed::Source;
use super::pace::{Length, rate, schedule};
use super::run::Run;
use super::state::Choice;
use super::step::Networks;

/// Steps of each that takes part, as a share of the run's and at most.
const SHARE: usize = 10;
const MOST: usize = 250;
/// Fewer tell nothing: the highest temperature, which is learned soonest, is then taken.
const LEAST: usize = 50;
/// What is tried for τ, in turn: shares of how much nearer neighbours are than other rows.
const TAUS: [f64; 5] = [0.1, 0.07, 0.05, 0.035, 0.025];
/// How much recall a lower τ may lack, times r(1 − r) where r is the best.
const TOLERANCE: f64 = 0.02;

impl Run<'_> {
    /// What is not given, chosen; none where a loss needs no choice. Every one that takes part makes
    /// the same first steps of the run under a schedule of its own.
    pub(super) fn race(
        &self,
        source: &Source<'_>,
        start: &Networks,
        length: Length,
    ) -> Result<Option<Choice>> {
        let Self { params, ctx, .. } = self;
        if !params.is_listed() {
            return Ok(None);
        }
        let learning_rate = params.learning_rate.unwrap_or_else(|| rate(params.n_components));
        let choice = |tau| Choice { tau, learning_rate };
        if let Some(tau) = params.tau {
            return Ok(Some(choice(tau)));
        }
        let taus = TAUS.map(|share| share * self.setting.gap());
        let steps = (length.steps() / SHARE).min(MOST);
        if self.watch.is_none() || steps < LEAST {
            return Ok(Some(choice(taus[0])));
        }
        let epochs = steps.div_ceil(length.per_epoch);
        ctx.stage(Stage::Choose, taus.len() * steps, || {
            let mut lowest = choice(taus[0]);
            let mut peak = 0.0_f64;
            for (i, choice) in taus.map(choice).into_iter().enumerate() {
                let params = choice.taken(params);
                let mut learner = self.setting.learner(&params, start.clone(), source)?;
                let schedule = schedule(&params, source.batch, steps / 10, steps);
                source.feed(0..epochs, |feed| {
                    for step in 0..steps {
                        let batch = feed.next()?;
                        self.step(&mut learner, &batch, step + 1, schedule.at(step))?;
                        feed.give_back(batch);
                        let done = i * steps + step + 1;
                        ctx.emit(&Event::StageProgress { stage: Stage::Choose, done });
                    }
                    Ok(())
                })?;
                let encoder = learner.into_networks(ctx).encoder;
                let recall = self.recall(&encoder)?.unwrap_or_default();
                if recall < peak - TOLERANCE * peak * (1.0 - peak) {
                    break;
                }
                lowest = choice;
                peak = peak.max(recall);
            }
            Ok(Some(lowest))
        })
    }
}
