//! What a loss is trained in: its objective, its coordinates, the rows in them.

use twinlearn_core::context::Context;
use twinlearn_core::error::Result;
use twinlearn_core::linalg::Matrix;
use twinlearn_knn::Metric;
use twinlearn_vectors::{Subset, Vectors, spread_ids};

use super::axes::{Axes, SAMPLE};
use super::feed::{Kind, Queries, Source};
use super::pace::optimiser;
use super::queries::Asked;
use super::step::{Learner, Networks, Space};
use crate::nn::{InputFrame, Network, encode};
use crate::objective::{Neighbourhoods, Objective, Prefix};
use crate::params::{Loss, Optimizer, Params};
use crate::pca::Pca;

/// What all runs of a fit have in common.
pub(super) struct Setting<'a> {
    pub(super) ctx: &'a Context,
    pub(super) x: &'a dyn Vectors,
    pub(super) pca: Option<&'a Pca>,
    /// None where the loss is trained on X itself or in a frame.
    pub(super) axes: Option<&'a Axes<'a>>,
    /// Anchors beside the rows.
    pub(super) queries: Option<&'a Asked<'a>>,
    /// Sizes below d that are trained too.
    pub(super) nested: &'a [usize],
    /// How much nearer neighbours are than other rows.
    pub(super) gap: f64,
}

impl Setting<'_> {
    /// The rows as batches hold them, but for a frame.
    pub(super) fn rows(&self) -> &dyn Vectors {
        self.axes.map_or(self.x, |axes| &*axes.rows)
    }

    pub(super) fn gap(&self) -> f64 {
        self.gap
    }

    /// How the anchors of a batch come by other rows, for a run that begins with `encoder`.
    pub(super) fn kind(&self, params: &Params, encoder: &Network<f32>, batch: usize) -> Kind<'_> {
        if let Some(axes) = self.axes {
            let queries = self.queries.map(|asked| {
                let Asked { x, pairs, .. } = asked;
                Queries { x: &**x, pairs, batch: asked.batch(batch) }
            });
            return Kind::Lists { is_sorted: axes.is_sorted, queries };
        }
        let spread = self.pca.map_or(1.0, Pca::spread);
        let noise = params.noise * spread / (self.x.dim() as f64).sqrt();
        Kind::Pairs { frame: self.frame(params, encoder), noise: params.gaussian.then_some(noise) }
    }

    /// A learner that begins with `networks`.
    pub(super) fn learner(
        &self,
        params: &Params,
        networks: Networks,
        source: &Source<'_>,
    ) -> Result<Learner> {
        let (objective, space) = match self.axes {
            Some(axes) => self.in_axes(params, axes, &networks.encoder, source)?,
            None => self.in_frame(params, &networks.encoder, source),
        };
        let kind = optimiser(params);
        Ok(Learner::new(self.ctx, networks, source.n_rows(), objective, kind, space))
    }

    fn in_axes(
        &self,
        params: &Params,
        axes: &Axes<'_>,
        encoder: &Network<f32>,
        source: &Source<'_>,
    ) -> Result<(Objective, Space)> {
        let ctx = self.ctx;
        let unbiased = encoder.as_linear().is_some() && !params.centre_target;
        let within = (&axes.coordinates, axes.is_moved);
        let space = Space::axes(ctx, within, unbiased, encoder);
        let rows = self.rows();
        let ids = spread_ids(rows.n_rows(), SAMPLE);
        let inside = space.of_batches(ctx, encoder);
        let reduced = encode(ctx, &inside.folded(), &Subset::new(rows, &ids)?)?;
        let of = |width, share| Prefix { width, share, size: size(&reduced, width, params.metric) };
        let share = (NESTED / params.n_components as f64).min(MOST_NESTED);
        let mut prefixes: Vec<Prefix> = self.nested.iter().map(|&width| of(width, share)).collect();
        prefixes.push(of(params.n_components, 1.0));
        let tau = params.tau.unwrap_or(TAU);
        let queries = source.n_queries();
        let mut kinds = vec![(source.batch - queries, tau)];
        kinds.extend(self.queries.map(|asked| (queries, tau * asked.warmth)));
        let centre = match self.pca.filter(|_| params.centre_target) {
            Some(pca) => axes.compared(pca.mean()),
            None => vec![0.0; self.x.dim()],
        };
        let objective = Objective::Kl(Neighbourhoods {
            metric: params.metric,
            factors: axes.factors(),
            centre,
            kinds,
            rows: source.n_rows(),
            prefixes,
        });
        Ok((objective, space))
    }

    /// The frame of what is not trained along axes. LARS moves matrices in proportion to their size: it
    /// needs none.
    fn frame(&self, params: &Params, encoder: &Network<f32>) -> Option<InputFrame> {
        if params.loss == Loss::BT && params.optimizer == Optimizer::Lars {
            return None;
        }
        let nowhere = vec![0.0; encoder.in_width()];
        let mean = self.pca.map_or(&nowhere[..], Pca::mean);
        Some(InputFrame::new(encoder, mean, self.pca.map_or(1.0, Pca::spread)))
    }

    fn in_frame(
        &self,
        params: &Params,
        encoder: &Network<f32>,
        source: &Source<'_>,
    ) -> (Objective, Space) {
        let frame = self.frame(params, encoder);
        let objective = match params.loss {
            Loss::BT => Objective::BarlowTwins { lambda: params.lambd, scale: params.scale_loss },
            Loss::MSE => Objective::Reconstruction,
            Loss::KL | Loss::Auto => {
                // Compared about the mean or about the origin, in the frame's coordinates.
                let dim = self.x.dim();
                let nowhere = vec![0.0; dim];
                let moved = frame.as_ref().map_or(&nowhere[..], |frame| &frame.mean[..]);
                let origin = match self.pca {
                    Some(pca) if params.centre_target => pca.mean(),
                    _ => &nowhere,
                };
                let spread = self.pca.map_or(1.0, Pca::spread);
                let centre = origin.iter().zip(moved).map(|(o, m)| ((o - m) / spread) as f32);
                Objective::Kl(Neighbourhoods {
                    metric: params.metric,
                    factors: vec![1.0; dim],
                    centre: centre.collect(),
                    kinds: vec![(source.batch, params.tau.unwrap_or(TAU))],
                    rows: source.n_rows(),
                    prefixes: vec![Prefix { width: params.n_components, share: 1.0, size: 1.0 }],
                })
            }
        };
        (objective, frame.map_or(Space::Own, Space::Frame))
    }
}

/// The weight of the loss of each nested size, beside 1 for that of all d, is this over d, and at most
/// so much: small enough that the whole loses next to nothing (the loss of the whole falls with d, and
/// its last axes can make up for what the first are made to do).
const NESTED: f64 = 8.0;
const MOST_NESTED: f64 = 0.25;
/// τ where nothing is known of the rows.
const TAU: f64 = 0.05;

/// About how large similarities of the first `width` numbers of reduced rows are: 1 for cosines, else
/// their mean square length, about their mean under l2.
fn size(rows: &Matrix, width: usize, metric: Metric) -> f64 {
    if metric == Metric::Cosine {
        return 1.0;
    }
    let n = rows.rows().max(1) as f64;
    let column = |j: usize| (0..rows.rows()).map(move |i| f64::from(rows.row(i)[j]));
    let spread = |j| {
        let square = column(j).map(|v| v * v).sum::<f64>() / n;
        match metric {
            Metric::L2 => square - (column(j).sum::<f64>() / n).powi(2),
            _ => square,
        }
    };
    let size = (0..width).map(spread).sum::<f64>();
    if size > 0.0 { size } else { 1.0 }
}

#[cfg(test)]
mod tests {
    use super::super::axes::seen;
    use super::super::coordinates::Coordinates;
    use super::*;
    use crate::closed::{ClosedForms, Wanted};
    use crate::nn::NormLayer;
    use crate::pairs::Pairs;
    use crate::pca::Moments;
    use twinlearn_core::random::{Purpose, generator};
    use twinlearn_knn::{KnnParams, knn_graph};

    #[test]
    fn turned_weights_learn_what_moved_rows_teach() {
        const DIM: usize = 9;
        let ctx = Context::with_threads(2).unwrap();
        let wave = |i: usize| ((i * i * 31 % 9973) as f32 * 0.37).sin();
        let size = |i: usize| 0.7_f32.powi((i % DIM) as i32);
        let x = Matrix::new(300, DIM, (0..300 * DIM).map(|i| 0.5 + size(i) * wave(i)).collect());
        let x = x.unwrap();
        let graph = knn_graph(&ctx, &x, &KnnParams::new(8)).unwrap();
        let pairs = Pairs::from_graph(&graph, 8, |_| true).unwrap();
        let moments = Moments::of(&ctx, &x).unwrap();
        for (encoder, metric, is_centred) in [
            ("linear", Metric::Cosine, false),
            ("linear", Metric::L2, true),
            ("mlp-1-12", Metric::Cosine, true),
        ] {
            let wanted = Wanted::all(DIM);
            let forms = ClosedForms::of_moments(&ctx, &moments, is_centred, wanted);
            let (values, directions) = forms.second();
            let mean = if is_centred { moments.mean.clone() } else { vec![0.0; DIM] };
            let to_unit = !is_centred;
            let coordinates = Coordinates::new(&values, directions, 1e-6, mean, to_unit).unwrap();
            let params = Params::builder()
                .n_components(3)
                .encoder(encoder.parse().unwrap())
                .metric(metric)
                .centre_target(is_centred && metric == Metric::Cosine);
            let params = params.build().unwrap();
            let mut rng = generator(3, Purpose::Init, 0);
            let encoder = Network::random(&params.encoder, NormLayer::Batch, DIM, 3, &mut rng);
            let trained = |is_moved| {
                let rows = seen(&ctx, &x, &coordinates, is_moved, is_moved).unwrap();
                let coordinates = coordinates.clone();
                let axes = Axes { coordinates, rows, is_moved, length: 1.7, is_sorted: true };
                let setting = Setting {
                    ctx: &ctx,
                    x: &x,
                    pca: Some(forms.pca()),
                    axes: Some(&axes),
                    queries: None,
                    nested: &[],
                    gap: 1.0,
                };
                let kind = setting.kind(&params, &encoder, 20);
                let rows = setting.rows();
                let source = Source { ctx: &ctx, x: rows, pairs: &pairs, kind, batch: 20, seed: 1 };
                let networks = Networks { encoder: encoder.clone(), projector: None };
                let mut learner = setting.learner(&params, networks, &source).unwrap();
                let losses = source.feed(0..1, |feed| {
                    (0..source.steps_per_epoch())
                        .map(|_| {
                            let batch = feed.next()?;
                            let loss = learner.step(&ctx, &batch, 1e-2).total;
                            feed.give_back(batch);
                            Ok(loss)
                        })
                        .collect::<Result<Vec<f64>>>()
                });
                (losses.unwrap(), learner.into_networks(&ctx).encoder)
            };
            let ((want, moved), (got, turned)) = (trained(true), trained(false));
            for (want, got) in want.iter().zip(&got) {
                assert!((want - got).abs() < 1e-3 * want, "{want} {got}");
            }
            let infer = |network: &Network<f32>| network.folded().infer(x.as_slice());
            let [start, want, got] = [&encoder, &moved, &turned].map(infer);
            let between = |a: &Matrix, b: &Matrix| {
                let square = |(a, b): (&f32, &f32)| (a - b).powi(2);
                a.as_slice().iter().zip(b.as_slice()).map(square).sum::<f32>().sqrt()
            };
            let (error, moved) = (between(&want, &got), between(&want, &start));
            assert!(error < 1e-2 * moved, "{error} beside a move of {moved}");
        }
    }
}
