//! The first numbers of reduced vectors, as a reduction of their own.

use twinlearn_core::error::{Error, Result};

use super::{Model, Ranges, ScalarQuantiser};
use crate::params::Solver;

impl Model {
    /// The model whose reduced vectors are the first `n_components` numbers of this one's: one of its
    /// nested sizes ([`nested`](crate::Hyperparameters::nested)), d itself or, where axes were not
    /// trained but found in the order of what they carry (solver pca or spectral), any number below.
    ///
    /// # Errors
    /// When it is another number, which nothing was learned for.
    ///
    /// ```
    /// use twinlearn::{Context, Matrix, Params, Trainer};
    /// let data = (0..200 * 8).map(|i| ((i * 7919) % 101) as f32 * 0.01).collect();
    /// let (ctx, x) = (Context::new()?, Matrix::new(200, 8, data)?);
    /// let params = Params::builder().n_components(4).nested(vec![2]).build()?;
    /// let model = Trainer::new(params).fit(&ctx, &x)?.model;
    /// let (z, short) = (model.transform(&ctx, &x, false)?, model.prefix(2)?);
    /// assert_eq!(short.transform(&ctx, &x, false)?.row(7), &z.row(7)[..2]);
    /// assert_eq!(
    ///     model.prefix(3).unwrap_err().to_string(),
    ///     "n_components: expected one of 2, 4 (what the model was fitted for), got 3"
    /// );
    /// # Ok::<(), twinlearn::Error>(())
    /// ```
    pub fn prefix(&self, n_components: usize) -> Result<Self> {
        let (d, nested) = (self.n_components(), &self.params.nested);
        if n_components == d {
            return Ok(self.clone());
        }
        let ordered = self.params.solver != Solver::Sgd && self.params.whiten == 0.0;
        let expected = match (ordered, nested.is_empty()) {
            (true, _) => format!("a number from 1 to {d}"),
            (false, true) => format!("{d} (a model fitted with nested sizes has others)"),
            (false, false) => {
                let sizes: Vec<String> = nested.iter().chain([&d]).map(usize::to_string).collect();
                format!("one of {} (what the model was fitted for)", sizes.join(", "))
            }
        };
        let place = nested.iter().position(|&size| size == n_components);
        if place.is_none() && !(ordered && (1..d).contains(&n_components)) {
            return Err(Error::invalid("n_components", expected, n_components));
        }
        let params = self.params.changed(|p| {
            p.n_components = n_components;
            p.codes = None;
            p.nested.retain(|&size| size < n_components);
        });
        let mut training = self.training.clone();
        training.validation = training.validation.and_then(|v| v.of_prefix(n_components));
        if let Some(queries) = &mut training.queries {
            queries.validation = None;
        }
        let ranges = self.ranges.as_ref().and_then(|ranges| {
            let first = |v: &[f32]| v[..n_components].to_vec();
            let Ranges { plain, unit, nested } = ranges;
            // A prefix that is scaled to length 1 differs from the prefix of a scaled vector.
            let unit = match place {
                Some(place) => nested.get(place)?.clone(),
                None => ScalarQuantiser { low: first(&unit.low), high: first(&unit.high) },
            };
            let plain = ScalarQuantiser { low: first(&plain.low), high: first(&plain.high) };
            let nested = nested[..place.unwrap_or(0)].to_vec();
            Some(Ranges { plain, unit, nested })
        });
        let encoder = self.encoder.first_outputs(n_components);
        let model = Self::new(params, encoder, None, training);
        let codes = self.codes.as_ref().and_then(|codes| codes.prefix(place));
        Ok(Self { ranges, codes, origin: self.origin.clone(), ..model })
    }
}
