//! One training step: gather, encode, project, loss, back, update.

use crate::context::Context;
use crate::data::Vectors;
use crate::error::Result;
use crate::linalg::Matrix;
use crate::nn::{InputFrame, Network, Tape};
use crate::objective::{BarlowTwins, Form, LossParts, NeighbourhoodKl, Objective};
use crate::optimiser::{Optimiser, OptimiserKind, Parameter};

/// Rows a task gathers at once.
const GATHER: usize = 32;

/// The networks in training, with every buffer that a step needs, for batches of one size.
pub(crate) struct Learner {
    encoder: Network<f32>,
    pub(crate) projector: Option<Network<f32>>,
    loss: Loss,
    optimiser: Optimiser,
    batch: usize,
    /// The coordinates that the encoder is in, if not those of its input.
    frame: Option<InputFrame>,
    /// The rows of both views: 2B × D.
    input: Matrix,
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
}

impl Learner {
    pub(crate) fn new(
        encoder: Network<f32>,
        projector: Option<Network<f32>>,
        batch: usize,
        objective: Objective,
        optimiser: OptimiserKind,
        frame: Option<InputFrame>,
    ) -> Self {
        let mut encoder = encoder;
        if let Some(frame) = &frame {
            frame.enter(&mut encoder);
        }
        let width = projector.as_ref().unwrap_or(&encoder).out_width();
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
        };
        Self {
            loss,
            optimiser: Optimiser::new(optimiser, &sizes),
            batch,
            frame,
            input: Matrix::zeros(2 * batch, encoder.in_width()),
            encoder_tape: encoder.tape(2 * batch),
            projector_tape: projector.as_ref().map(|p| p.tape(2 * batch)),
            gradients: sizes.into_iter().map(|n| vec![0.0; n]).collect(),
            encoder,
            projector,
        }
    }

    /// The encoder as it is now, of the input as it is.
    pub(crate) fn encoder(&self) -> Network<f32> {
        let mut encoder = self.encoder.clone();
        if let Some(frame) = &self.frame {
            frame.leave(&mut encoder);
        }
        encoder
    }

    #[cfg(test)]
    pub(super) fn networks_mut(&mut self) -> (&mut Network<f32>, Option<&mut Network<f32>>) {
        (&mut self.encoder, self.projector.as_mut())
    }

    /// One step on `batch` pairs of rows of `x`.
    pub(crate) fn step(
        &mut self,
        ctx: &Context,
        x: &dyn Vectors,
        pairs: &[(u32, u32)],
        learning_rate: f64,
    ) -> Result<LossParts> {
        self.gather(ctx, x, pairs)?;
        let loss = self.gradients(ctx);
        self.update(ctx, learning_rate);
        Ok(loss)
    }

    /// Reads the anchors to the first view and their partners to the second.
    fn gather(&mut self, ctx: &Context, x: &dyn Vectors, pairs: &[(u32, u32)]) -> Result<()> {
        assert_eq!(pairs.len(), self.batch, "a whole batch");
        let (anchors, partners): (Vec<u32>, Vec<u32>) = pairs.iter().copied().unzip();
        let ids = [anchors, partners].concat();
        let (dim, frame) = (x.dim(), &self.frame);
        ctx.try_for_each_chunk(self.input.as_mut_slice(), GATHER * dim, |c, out| {
            x.gather(&ids[c * GATHER..][..out.len() / dim], out)?;
            if let Some(InputFrame { mean, scale, .. }) = frame {
                for row in out.chunks_exact_mut(dim) {
                    for (v, m) in row.iter_mut().zip(mean) {
                        *v = ((f64::from(*v) - m) / scale) as f32;
                    }
                }
            }
            Ok(())
        })
    }

    /// Forward and backward over the gathered rows.
    fn gradients(&mut self, ctx: &Context) -> LossParts {
        let input = self.input.view();
        let n_networks = self.gradients.len() - self.loss.parameters().len();
        let (of_networks, of_loss) = self.gradients.split_at_mut(n_networks);
        let (of_encoder, of_projector) = of_networks.split_at_mut(self.encoder.parameters().len());
        self.encoder.forward(ctx, input, 2, &mut self.encoder_tape);
        let loss = match (&mut self.projector, &mut self.projector_tape) {
            (Some(projector), Some(tape)) => {
                let z = self.encoder_tape.out();
                projector.forward(ctx, z.view(), 2, tape);
                let loss = self.loss.gradient(ctx, &self.input, tape.out(), of_loss);
                projector.backward(ctx, z.view(), tape, of_projector);
                // From here the buffer of the codes holds the gradient by them.
                projector.input_gradient(ctx, tape, z);
                loss
            }
            _ => self.loss.gradient(ctx, &self.input, self.encoder_tape.out(), of_loss),
        };
        self.encoder.backward(ctx, input, &mut self.encoder_tape, of_encoder);
        loss
    }

    fn update(&mut self, ctx: &Context, learning_rate: f64) {
        let Self { encoder, projector, loss, optimiser, gradients, .. } = self;
        let networks = || [Some(&*encoder), projector.as_ref()].into_iter().flatten();
        let shapes = networks().flat_map(Network::parameters).map(|(_, shape, _)| shape.len());
        let mut matrices: Vec<bool> = shapes.map(|n| n > 1).collect();
        matrices.resize(gradients.len(), false);
        let networks = [Some(encoder), projector.as_mut()].into_iter().flatten();
        let parameters = networks.flat_map(Network::parameters_mut).chain(loss.parameters_mut());
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
        }
    }

    fn parameters(&self) -> &[[f32; 1]] {
        match self {
            Self::BarlowTwins(_) => &[],
            Self::Kl(_, log_scale) => std::slice::from_ref(log_scale),
        }
    }

    fn parameters_mut(&mut self) -> impl Iterator<Item = &mut [f32]> {
        let log_scale = match self {
            Self::BarlowTwins(_) => None,
            Self::Kl(_, log_scale) => Some(&mut log_scale[..]),
        };
        log_scale.into_iter()
    }
}
