//! One training step: gather, encode, project, loss, back, update.

use crate::context::Context;
use crate::data::Vectors;
use crate::error::Result;
use crate::linalg::Matrix;
use crate::nn::{Network, Tape};
use crate::objective::{BarlowTwins, Form, Loss};
use crate::optimiser::{Lars, LarsConfig};

/// Rows a task gathers at once.
const GATHER: usize = 32;

/// The networks in training, with every buffer that a step needs, for batches of one size.
pub(crate) struct Learner {
    pub(crate) encoder: Network<f32>,
    pub(crate) projector: Option<Network<f32>>,
    loss: BarlowTwins<f32>,
    optimiser: Lars,
    batch: usize,
    /// The rows of both views: 2B × D.
    input: Matrix,
    encoder_tape: Tape<f32>,
    projector_tape: Option<Tape<f32>>,
    /// One gradient for each parameter, the encoder's first.
    gradients: Vec<Vec<f32>>,
}

impl Learner {
    pub(crate) fn new(
        encoder: Network<f32>,
        projector: Option<Network<f32>>,
        batch: usize,
        lambda: f64,
        scale: f64,
        lars: LarsConfig,
    ) -> Self {
        let width = projector.as_ref().unwrap_or(&encoder).out_width();
        let mut sizes: Vec<usize> = encoder.parameters().iter().map(|p| p.2.len()).collect();
        sizes.extend(projector.iter().flat_map(Network::parameters).map(|p| p.2.len()));
        Self {
            loss: BarlowTwins::new(lambda, scale, batch, width, Form::cheaper(batch, width)),
            optimiser: Lars::new(lars, sizes.iter().copied()),
            batch,
            input: Matrix::zeros(2 * batch, encoder.in_width()),
            encoder_tape: encoder.tape(2 * batch),
            projector_tape: projector.as_ref().map(|p| p.tape(2 * batch)),
            gradients: sizes.into_iter().map(|n| vec![0.0; n]).collect(),
            encoder,
            projector,
        }
    }

    /// One step on `batch` pairs of rows of `x`.
    pub(crate) fn step(
        &mut self,
        ctx: &Context,
        x: &dyn Vectors,
        pairs: &[(u32, u32)],
        learning_rate: f64,
    ) -> Result<Loss> {
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
        let dim = x.dim();
        ctx.try_for_each_chunk(self.input.as_mut_slice(), GATHER * dim, |c, out| {
            x.gather(&ids[c * GATHER..][..out.len() / dim], out)
        })
    }

    /// Forward and backward over the gathered rows.
    fn gradients(&mut self, ctx: &Context) -> Loss {
        let input = self.input.view();
        let (of_encoder, of_projector) =
            self.gradients.split_at_mut(self.encoder.parameters().len());
        self.encoder.forward(ctx, input, 2, &mut self.encoder_tape);
        let loss = match (&mut self.projector, &mut self.projector_tape) {
            (Some(projector), Some(tape)) => {
                let z = self.encoder_tape.out();
                projector.forward(ctx, z.view(), 2, tape);
                let loss = self.loss.loss_and_gradient(ctx, tape.out());
                projector.backward(ctx, z.view(), tape, of_projector);
                // From here the buffer of the codes holds the gradient by them.
                projector.input_gradient(ctx, tape, z);
                loss
            }
            _ => self.loss.loss_and_gradient(ctx, self.encoder_tape.out()),
        };
        self.encoder.backward(ctx, input, &mut self.encoder_tape, of_encoder);
        loss
    }

    fn update(&mut self, ctx: &Context, learning_rate: f64) {
        let matrices: Vec<bool> = self
            .encoder
            .parameters()
            .iter()
            .chain(&self.projector.as_ref().map(Network::parameters).unwrap_or_default())
            .map(|(_, shape, _)| shape.len() > 1)
            .collect();
        let parameters = self
            .encoder
            .parameters_mut()
            .into_iter()
            .chain(self.projector.as_mut().map(Network::parameters_mut).unwrap_or_default());
        for (i, parameter) in parameters.enumerate() {
            let gradient = &mut self.gradients[i];
            self.optimiser.step(ctx, i, matrices[i], parameter, gradient, learning_rate);
        }
    }
}
