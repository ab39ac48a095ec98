//! One training step: encode, project, loss, back, update.

use twinlearn_core::context::Context;
use twinlearn_vectors::Named;

use super::coordinates::Coordinates;
use super::feed::{Batch, rows_of};
use super::pace::optimiser;
use crate::nn::{InputFrame, Network, NetworkSpec, Tape};
use crate::objective::{Input, Loss, LossParts, Objective, loss_bytes};
use crate::optimiser::{Optimiser, OptimiserKind, Parameter};
use crate::params::Params;

/// The learning rate of what a loss learns itself, as a share of the networks'.
const OWN_RATE: f64 = 0.1;

/// The coordinates that networks are trained in.
#[derive(Clone, Debug)]
pub(super) enum Space {
    /// Those of X.
    Own,
    /// X moved and scaled.
    Frame(InputFrame),
    /// X along its axes.
    Axes(AxesSpace),
}

/// The coordinates along axes, for one encoder.
#[derive(Clone, Debug)]
pub(super) struct AxesSpace {
    coordinates: Coordinates,
    /// Whether batches hold rows in the coordinates; others are less the mean alone.
    is_moved: bool,
    /// Whether the encoder has no bias here.
    unbiased: bool,
    /// What its output is multiplied by here.
    gain: f64,
}

impl Space {
    /// The coordinates along axes, for this encoder.
    pub(super) fn axes(
        ctx: &Context,
        (coordinates, is_moved): (&Coordinates, bool),
        unbiased: bool,
        encoder: &Network<f32>,
    ) -> Self {
        let mut inside = encoder.clone();
        coordinates.enter(ctx, &mut inside);
        // Adam's steps mean the same for weights of one size; with hidden layers that is theirs.
        let gain = match inside.as_linear() {
            Some((weight, _)) => {
                let square: f64 = weight.as_slice().iter().map(|&w| f64::from(w).powi(2)).sum();
                let size = (square / weight.as_slice().len() as f64).sqrt();
                if size > 0.0 { 1.0 / size } else { 1.0 }
            }
            None => 1.0,
        };
        Self::Axes(AxesSpace { coordinates: coordinates.clone(), is_moved, unbiased, gain })
    }

    /// An encoder in these coordinates, for rows as batches hold them.
    pub(super) fn of_batches(&self, ctx: &Context, encoder: &Network<f32>) -> Network<f32> {
        let mut networks = Networks { encoder: encoder.clone(), projector: None };
        self.enter(ctx, &mut networks);
        if let Some(coordinates) = self.turning() {
            let weight = networks.encoder.first_weight_mut();
            coordinates.weights_of_rows(ctx, weight.as_mut_slice());
        }
        networks.encoder
    }

    /// The coordinates that batches are not moved to, so that weights are turned.
    fn turning(&self) -> Option<&Coordinates> {
        match self {
            Self::Axes(AxesSpace { coordinates, is_moved: false, .. }) => Some(coordinates),
            _ => None,
        }
    }

    fn enter(&self, ctx: &Context, networks: &mut Networks) {
        let Networks { encoder, projector } = networks;
        match self {
            Self::Own => {}
            Self::Frame(frame) => frame.enter(encoder, projector.as_mut()),
            Self::Axes(AxesSpace { coordinates, unbiased, gain, .. }) => {
                coordinates.enter(ctx, encoder);
                encoder.scale_output(*gain);
                if *unbiased {
                    encoder.drop_bias();
                }
            }
        }
    }

    fn leave(&self, ctx: &Context, networks: &mut Networks) {
        let Networks { encoder, projector } = networks;
        match self {
            Self::Own => {}
            Self::Frame(frame) => frame.leave(encoder, projector.as_mut()),
            Self::Axes(AxesSpace { coordinates, unbiased, gain, .. }) => {
                if *unbiased {
                    encoder.restore_bias();
                }
                encoder.scale_output(1.0 / gain);
                coordinates.leave(ctx, encoder);
            }
        }
    }
}

/// What is trained.
#[derive(Clone, Debug)]
pub(super) struct Networks {
    pub(super) encoder: Network<f32>,
    pub(super) projector: Option<Network<f32>>,
}

impl Networks {
    /// Every array, under `prefix`.
    pub(super) fn arrays_mut(&mut self, prefix: &str) -> Vec<Named<&mut [f32]>> {
        let Self { encoder, projector } = self;
        let named = [("encoder", Some(encoder)), ("projector", projector.as_mut())];
        let mut all = Vec::new();
        for (part, network) in named {
            let arrays = network.into_iter().flat_map(Network::arrays_mut);
            all.extend(
                arrays.map(|(name, shape, v)| (format!("{prefix}.{part}.{name}"), shape, v)),
            );
        }
        all
    }
}

/// Numbers of a network: weights, biases, and what norms learn and keep.
pub(super) fn n_weights(spec: &NetworkSpec, input: usize, output: usize) -> usize {
    // What cannot be counted is far more than there is memory, and may still be multiplied.
    let weights = spec.n_weights(input, output).unwrap_or(usize::MAX / 256);
    weights.saturating_add(5 * spec.hidden().iter().sum::<usize>() + output)
}

/// The networks in training, with every buffer that a step needs, for batches of one size.
pub(super) struct Learner {
    networks: Networks,
    loss: Box<dyn Loss>,
    optimiser: Optimiser,
    space: Space,
    /// Views that a batch is stacked of.
    views: usize,
    encoder_tape: Tape<f32>,
    projector_tape: Option<Tape<f32>>,
    /// One gradient for each parameter: the encoder's, the projector's, the loss's own.
    gradients: Vec<Vec<f32>>,
}

impl Learner {
    /// Bytes of a learner of these parameters for batches of `batch` anchors from rows of dimension
    /// `dim`, and of a step of it.
    pub(super) fn bytes(params: &Params, batch: usize, dim: usize) -> usize {
        let (d, is_listed) = (params.n_components, params.is_listed());
        let rows = rows_of(is_listed, batch);
        let encoder = (&params.encoder, dim, d);
        let projector = params.projector.as_ref();
        let projector = projector.map(|spec| (spec, d, params.projector_width(spec, dim)));
        let width = projector.map_or(d, |(.., width)| width);
        let all = [Some(encoder), projector];
        let all = all.iter().flatten();
        let weights = all.clone().map(|(spec, input, output)| n_weights(spec, *input, *output));
        let weights = weights.fold(0, usize::saturating_add);
        let tapes = all.map(|(spec, _, output)| Tape::bytes(spec.hidden(), *output, rows));
        // Themselves and their gradients.
        let networks = (2 * size_of::<f32>()).saturating_mul(weights);
        // Where rows are not copied a step turns its first weights, and their gradient.
        let first = params.encoder.hidden().first().unwrap_or(&d) * dim;
        let turned = if is_listed { 2 * size_of::<f32>() * first } else { 0 };
        [
            networks,
            Optimiser::bytes(optimiser(params), weights),
            turned,
            loss_bytes(params.loss, (batch, rows), dim, width),
        ]
        .into_iter()
        .chain(tapes)
        .fold(0, usize::saturating_add)
    }

    /// For batches of so many rows.
    pub(super) fn new(
        ctx: &Context,
        mut networks: Networks,
        rows: usize,
        objective: Objective,
        optimiser: OptimiserKind,
        space: Space,
    ) -> Self {
        space.enter(ctx, &mut networks);
        let Networks { encoder, projector } = &networks;
        let width = projector.as_ref().unwrap_or(encoder).out_width();
        let mut sizes: Vec<usize> = encoder.parameters().iter().map(|p| p.2.len()).collect();
        sizes.extend(projector.iter().flat_map(Network::parameters).map(|p| p.2.len()));
        let is_of_lists = matches!((&objective, &space), (Objective::Kl(_), Space::Axes(_)));
        let mut loss = objective.loss(rows, encoder.in_width(), width);
        sizes.extend(Some(loss.parameters_mut().len()).filter(|&n| n > 0));
        Self {
            loss,
            optimiser: Optimiser::new(optimiser, &sizes),
            space,
            // Lists come as one batch, pairs as two views.
            views: if is_of_lists { 1 } else { 2 },
            encoder_tape: encoder.tape(rows),
            projector_tape: projector.as_ref().map(|p| p.tape(rows)),
            gradients: sizes.into_iter().map(|n| vec![0.0; n]).collect(),
            networks,
        }
    }

    /// The networks as they are now, of the input as it is.
    pub(super) fn networks(&self, ctx: &Context, with_projector: bool) -> Networks {
        let Networks { encoder, projector } = &self.networks;
        let projector = projector.as_ref().filter(|_| with_projector).cloned();
        self.left(ctx, Networks { encoder: encoder.clone(), projector })
    }

    /// [`networks`](Self::networks) at the end, when nothing else is needed any more.
    pub(super) fn into_networks(self, ctx: &Context) -> Networks {
        let Self { mut networks, space, .. } = self;
        space.leave(ctx, &mut networks);
        networks
    }

    /// Networks in the coordinates of training, of the input as it is.
    pub(super) fn left(&self, ctx: &Context, mut networks: Networks) -> Networks {
        self.space.leave(ctx, &mut networks);
        networks
    }

    /// Networks of the input as it is, in the coordinates of training.
    pub(super) fn entered(&self, ctx: &Context, mut networks: Networks) -> Networks {
        self.space.enter(ctx, &mut networks);
        networks
    }

    /// The encoder in the coordinates of training.
    pub(super) fn encoder(&self) -> &Network<f32> {
        &self.networks.encoder
    }

    /// Everything that later steps depend on: the optimiser's count of steps, where it has one, and
    /// arrays in a fixed order.
    pub(super) fn state_mut(&mut self) -> (Option<&mut u32>, Vec<Named<&mut [f32]>>) {
        let mut arrays = self.networks.arrays_mut("training");
        let own = self.loss.parameters_mut();
        if !own.is_empty() {
            arrays.push(("loss.0".to_owned(), vec![own.len()], own));
        }
        let (count, moments) = self.optimiser.state_mut();
        for (i, values) in moments.into_iter().enumerate() {
            arrays.push((format!("optimizer.{i}"), vec![values.len()], values));
        }
        (count, arrays)
    }

    /// One step.
    pub(super) fn step(&mut self, ctx: &Context, batch: &Batch, learning_rate: f64) -> LossParts {
        let loss = self.gradients(ctx, batch);
        self.update(ctx, learning_rate);
        loss
    }

    fn gradients(&mut self, ctx: &Context, batch: &Batch) -> LossParts {
        let (input, views) = (batch.rows.view(), self.views);
        let Networks { encoder, projector } = &mut self.networks;
        let n_projector = projector.as_ref().map_or(0, |projector| projector.parameters().len());
        let (of_encoder, others) = self.gradients.split_at_mut(encoder.parameters().len());
        let (of_projector, of_loss) = others.split_at_mut(n_projector);
        let slopes = of_loss.first_mut().map_or(&mut [][..], Vec::as_mut_slice);
        let weights = Some(&batch.weights).filter(|weights| weights.rows() > 0);
        let seen = Input { rows: &batch.rows, weights };
        let turned = self.space.turning().map(|coordinates| {
            let weight = encoder.first_weight_mut().as_mut_slice();
            let own = weight.to_vec();
            coordinates.weights_of_rows(ctx, weight);
            (coordinates, own)
        });
        encoder.forward(ctx, input, views, &mut self.encoder_tape);
        let loss = match (projector, &mut self.projector_tape) {
            (Some(projector), Some(tape)) => {
                let z = self.encoder_tape.out();
                projector.forward(ctx, z.view(), views, tape);
                let loss = self.loss.loss_and_gradient(ctx, seen, tape.out(), slopes);
                projector.backward(ctx, z.view(), tape, of_projector);
                // From here the buffer of the codes holds the gradient by them.
                projector.input_gradient(ctx, tape, z);
                loss
            }
            _ => self.loss.loss_and_gradient(ctx, seen, self.encoder_tape.out(), slopes),
        };
        encoder.backward(ctx, input, &mut self.encoder_tape, of_encoder);
        if let Some((coordinates, own)) = turned {
            encoder.first_weight_mut().as_mut_slice().copy_from_slice(&own);
            coordinates.gradient_of_axes(ctx, &mut of_encoder[0]);
        }
        loss
    }

    fn update(&mut self, ctx: &Context, learning_rate: f64) {
        let Self { networks, loss, optimiser, gradients, .. } = self;
        let all = || [Some(&networks.encoder), networks.projector.as_ref()].into_iter().flatten();
        let row = |(_, shape, _): (_, Vec<usize>, _)| match shape[..] {
            [_, row] => Some(row),
            _ => None,
        };
        let mut rows: Vec<Option<usize>> = all().flat_map(Network::parameters).map(row).collect();
        let n_networks = rows.len();
        rows.resize(gradients.len(), None);
        let Networks { encoder, projector } = networks;
        let all = [Some(encoder), projector.as_mut()].into_iter().flatten();
        let own = Some(loss.parameters_mut()).filter(|own| !own.is_empty());
        let parameters = all.flat_map(Network::parameters_mut).chain(own);
        for (index, (values, gradient)) in parameters.zip(gradients).enumerate() {
            let parameter = Parameter { index, row: rows[index], values, gradient };
            let rate = if index < n_networks { 1.0 } else { OWN_RATE } * learning_rate;
            optimiser.step(ctx, parameter, rate);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nn::NormLayer;
    use crate::params::Recipe;

    #[test]
    fn bytes_are_those_of_a_learner() {
        let (ctx, batch, dim) = (Context::with_threads(1).unwrap(), 40, 30);
        for loss in ["BT", "MSE"] {
            for (encoder, projector) in
                [("linear", "mlp-1-50"), ("mlp-1-20", "mlp-2-64"), ("flinear-1-16", "linear")]
            {
                let params = Params::builder()
                    .n_components(6)
                    .recipe(Recipe::Reference)
                    .loss(loss.parse().unwrap())
                    .encoder(encoder.parse().unwrap())
                    .projector(projector.parse().ok());
                let params = params.build().unwrap();
                let zeros = |spec: &NetworkSpec, input, output| {
                    Network::zeros(spec, NormLayer::Batch, input, output)
                };
                let projector = params.projector.as_ref();
                let networks = Networks {
                    encoder: zeros(&params.encoder, dim, 6),
                    projector: projector.map(|p| zeros(p, 6, params.projector_width(p, dim))),
                };
                let rows = rows_of(false, batch);
                let objective = match loss {
                    "BT" => Objective::BarlowTwins { lambda: 0.005, scale: 1.0 },
                    _ => Objective::Reconstruction,
                };
                let kind = optimiser(&params);
                let mut made = Learner::new(&ctx, networks, rows, objective, kind, Space::Own);
                let width =
                    made.networks.projector.as_ref().unwrap_or(&made.networks.encoder).out_width();
                let state: usize = made.state_mut().1.iter().map(|(.., array)| array.len()).sum();
                let gradients: usize = made.gradients.iter().map(Vec::len).sum();
                let tapes = Tape::bytes(params.encoder.hidden(), 6, rows)
                    + projector.map_or(0, |p| Tape::bytes(p.hidden(), width, rows));
                let held = 4 * (state + gradients)
                    + tapes
                    + loss_bytes(params.loss, (batch, rows), dim, width);
                let bytes = Learner::bytes(&params, batch, dim);
                assert!(held <= bytes && bytes <= held + held / 20, "{encoder}: {held}, {bytes}");
            }
        }
    }
}
