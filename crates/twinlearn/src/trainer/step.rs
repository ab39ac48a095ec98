//! One training step: encode, project, loss, back, update.

use crate::context::Context;
use crate::data::Named;
use crate::linalg::Matrix;
use crate::nn::{InputFrame, Network, Tape};
use crate::objective::{BarlowTwins, Form, LossParts, NeighbourhoodKl, Objective, reconstruction};
use crate::optimiser::{Optimiser, OptimiserKind, Parameter};

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

/// The networks in training, with every buffer that a step needs, for batches of one size.
pub(super) struct Learner {
    networks: Networks,
    loss: Loss,
    optimiser: Optimiser,
    /// The coordinates that the encoder is in, if not those of its input.
    frame: Option<InputFrame>,
    encoder_tape: Tape<f32>,
    projector_tape: Option<Tape<f32>>,
    /// One gradient for each parameter: the encoder's, the projector's, the loss's own.
    gradients: Vec<Vec<f32>>,
}

/// A loss with its buffers and what it learns itself.
enum Loss {
    BarlowTwins(BarlowTwins<f32>),
    /// With log a.
    Kl(Box<NeighbourhoodKl<f32>>, [f32; 1]),
    Reconstruction,
}

impl Learner {
    pub(super) fn new(
        mut networks: Networks,
        batch: usize,
        objective: Objective,
        optimiser: OptimiserKind,
        frame: Option<InputFrame>,
    ) -> Self {
        if let Some(frame) = &frame {
            frame.enter(&mut networks.encoder, networks.projector.as_mut());
        }
        let Networks { encoder, projector } = &networks;
        let width = projector.as_ref().unwrap_or(encoder).out_width();
        let mut sizes: Vec<usize> = encoder.parameters().iter().map(|p| p.2.len()).collect();
        sizes.extend(projector.iter().flat_map(Network::parameters).map(|p| p.2.len()));
        let loss = match objective {
            Objective::BarlowTwins { lambda, scale } => {
                let form = Form::cheaper(batch, width);
                Loss::BarlowTwins(BarlowTwins::new(lambda, scale, batch, width, form))
            }
            Objective::Kl { tau, centre } => {
                sizes.push(1);
                let start = NeighbourhoodKl::<f32>::initial_log_scale(tau) as f32;
                let kl = NeighbourhoodKl::new(tau, batch, encoder.in_width(), width, centre);
                Loss::Kl(Box::new(kl), [start])
            }
            Objective::Reconstruction => Loss::Reconstruction,
        };
        Self {
            loss,
            optimiser: Optimiser::new(optimiser, &sizes),
            frame,
            encoder_tape: encoder.tape(2 * batch),
            projector_tape: projector.as_ref().map(|p| p.tape(2 * batch)),
            gradients: sizes.into_iter().map(|n| vec![0.0; n]).collect(),
            networks,
        }
    }

    /// The networks as they are now, of the input as it is.
    pub(super) fn networks(&self, with_projector: bool) -> Networks {
        let Networks { encoder, projector } = &self.networks;
        let projector = projector.as_ref().filter(|_| with_projector).cloned();
        let mut networks = Networks { encoder: encoder.clone(), projector };
        if let Some(frame) = &self.frame {
            frame.leave(&mut networks.encoder, networks.projector.as_mut());
        }
        networks
    }

    /// [`networks`](Self::networks) at the end, when nothing else is needed any more.
    pub(super) fn into_networks(self) -> Networks {
        let Self { mut networks, frame, .. } = self;
        if let Some(frame) = frame {
            frame.leave(&mut networks.encoder, networks.projector.as_mut());
        }
        networks
    }

    /// The coordinates that its input must be in, if not those of X.
    pub(super) fn frame(&self) -> Option<&InputFrame> {
        self.frame.as_ref()
    }

    /// Everything that later steps depend on: the optimiser's count of steps, where it has one, and
    /// arrays in a fixed order.
    pub(super) fn state_mut(&mut self) -> (Option<&mut u32>, Vec<Named<&mut [f32]>>) {
        let mut arrays = self.networks.arrays_mut("training");
        for (i, values) in self.loss.parameters_mut().enumerate() {
            arrays.push((format!("loss.{i}"), vec![values.len()], values));
        }
        let (count, moments) = self.optimiser.state_mut();
        for (i, values) in moments.into_iter().enumerate() {
            arrays.push((format!("optimizer.{i}"), vec![values.len()], values));
        }
        (count, arrays)
    }

    /// One step on the rows of both views, 2B × D.
    pub(super) fn step(&mut self, ctx: &Context, input: &Matrix, learning_rate: f64) -> LossParts {
        let loss = self.gradients(ctx, input);
        self.update(ctx, learning_rate);
        loss
    }

    fn gradients(&mut self, ctx: &Context, rows: &Matrix) -> LossParts {
        let input = rows.view();
        let Networks { encoder, projector } = &mut self.networks;
        let n_networks = self.gradients.len() - self.loss.parameters().len();
        let (of_networks, of_loss) = self.gradients.split_at_mut(n_networks);
        let (of_encoder, of_projector) = of_networks.split_at_mut(encoder.parameters().len());
        encoder.forward(ctx, input, 2, &mut self.encoder_tape);
        let loss = match (projector, &mut self.projector_tape) {
            (Some(projector), Some(tape)) => {
                let z = self.encoder_tape.out();
                projector.forward(ctx, z.view(), 2, tape);
                let loss = self.loss.gradient(ctx, rows, tape.out(), of_loss);
                projector.backward(ctx, z.view(), tape, of_projector);
                // From here the buffer of the codes holds the gradient by them.
                projector.input_gradient(ctx, tape, z);
                loss
            }
            _ => self.loss.gradient(ctx, rows, self.encoder_tape.out(), of_loss),
        };
        encoder.backward(ctx, input, &mut self.encoder_tape, of_encoder);
        loss
    }

    fn update(&mut self, ctx: &Context, learning_rate: f64) {
        let Self { networks, loss, optimiser, gradients, .. } = self;
        let all = || [Some(&networks.encoder), networks.projector.as_ref()].into_iter().flatten();
        let shapes = all().flat_map(Network::parameters).map(|(_, shape, _)| shape.len());
        let mut matrices: Vec<bool> = shapes.map(|n| n > 1).collect();
        matrices.resize(gradients.len(), false);
        let Networks { encoder, projector } = networks;
        let all = [Some(encoder), projector.as_mut()].into_iter().flatten();
        let parameters = all.flat_map(Network::parameters_mut).chain(loss.parameters_mut());
        for (index, (values, gradient)) in parameters.zip(gradients).enumerate() {
            let parameter = Parameter { index, is_matrix: matrices[index], values, gradient };
            optimiser.step(ctx, parameter, learning_rate);
        }
    }
}

impl Loss {
    /// The loss; `z`, the rows it looks at, becomes its gradient.
    fn gradient(
        &mut self,
        ctx: &Context,
        input: &Matrix,
        z: &mut Matrix,
        own: &mut [Vec<f32>],
    ) -> LossParts {
        match self {
            Self::BarlowTwins(loss) => loss.loss_and_gradient(ctx, z),
            Self::Kl(loss, log_scale) => {
                let (parts, slope) = loss.loss_and_gradient(ctx, input, z, log_scale[0].into());
                own[0][0] = slope as f32;
                parts
            }
            Self::Reconstruction => reconstruction(ctx, input, z),
        }
    }

    fn parameters(&self) -> &[[f32; 1]] {
        match self {
            Self::BarlowTwins(_) | Self::Reconstruction => &[],
            Self::Kl(_, log_scale) => std::slice::from_ref(log_scale),
        }
    }

    fn parameters_mut(&mut self) -> impl Iterator<Item = &mut [f32]> {
        let log_scale = match self {
            Self::BarlowTwins(_) | Self::Reconstruction => None,
            Self::Kl(_, log_scale) => Some(&mut log_scale[..]),
        };
        log_scale.into_iter()
    }
}
