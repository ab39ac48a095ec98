//! Where training begins: the encoder from PCA, the closed form, chance or a model.

use super::step::Networks;
use crate::context::Context;
use crate::data::Vectors;
use crate::error::{Error, Result};
use crate::knn::Metric;
use crate::model::Model;
use crate::nn::Network;
use crate::pairs::Pairs;
use crate::params::{Init, Loss, Params};
use crate::pca::Pca;
use crate::random::{Purpose, generator};
use crate::spectral::neighbour_map;

/// The networks before training.
pub(super) fn networks(
    params: &Params,
    ctx: &Context,
    x: &dyn Vectors,
    pairs: &Pairs,
    pca: Option<&Pca>,
    model: Option<&Model>,
) -> Result<Networks> {
    let (d, norm) = (params.n_components, params.norm_layer);
    let mut rng = generator(params.seed, Purpose::Init, 0);
    let map = match (params.init, pca, model) {
        (Init::Model, _, Some(model)) => {
            let (encoder, projector) = model.networks();
            let projector = projector.filter(|_| params.projector.is_some()).cloned();
            return Ok(Networks { encoder: encoder.clone(), projector });
        }
        (Init::Pca, Some(pca), _) => Some((pca, pca.projection(d, params.pca_power)?)),
        (Init::Spectral, Some(pca), _) => {
            Some((pca, neighbour_map(ctx, x, pairs, pca.mean(), d, params.pca_power)?))
        }
        _ => None,
    };
    let encoder = match map {
        Some((pca, map)) => {
            let map = if begins_uncentred(params) { map.without_bias() } else { map };
            let spreads = pca.spreads(&map);
            Network::carrying(&params.encoder, &map.weight, &map.bias, &spreads, &mut rng)
        }
        None => Network::random(&params.encoder, norm, x.dim(), d, &mut rng),
    };
    let projector = params.projector.as_ref().map(|spec| {
        let mut rng = generator(params.seed, Purpose::Init, 1);
        let width = params.projector_width(spec, x.dim());
        let mut projector = Network::random(spec, norm, d, width, &mut rng);
        if params.loss == Loss::MSE {
            // What is given back should begin no larger than rows of length 1.
            projector.scale_output(1.0 / (width as f64).sqrt());
        }
        projector
    });
    Ok(Networks { encoder, projector })
}

/// Cosines and inner products are about the origin, which centring would move; a centred target is
/// about the mean, and hidden layers expect centred outputs.
fn begins_uncentred(params: &Params) -> bool {
    params.metric != Metric::L2 && !params.centre_target && params.encoder.hidden().is_empty()
}

/// Refuses a model that has not the networks that `params` describe.
pub(super) fn check_model(params: &Params, dim: usize, model: &Model) -> Result<()> {
    let of = |p: &Params, features: usize| {
        format!("{} from {features} to {} with {}", p.encoder, p.n_components, p.norm_layer)
    };
    let (wanted, got) = (of(params, dim), of(model.params(), model.n_features()));
    if wanted != got {
        return Err(Error::invalid("model", format_args!("the encoder {wanted}"), got));
    }
    let (_, projector) = model.networks();
    let (Some(spec), own) = (&params.projector, &model.params().projector) else { return Ok(()) };
    let width = params.projector_width(spec, dim);
    match (projector, own) {
        (Some(projector), Some(own)) if own == spec && projector.out_width() == width => Ok(()),
        (Some(projector), Some(own)) => Err(Error::invalid(
            "model",
            format_args!("the projector {spec} to {width} dimensions"),
            format_args!("{own} to {}", projector.out_width()),
        )),
        _ => Err(Error::invalid(
            "model",
            format_args!("one that retained its projector {spec} (or projector none)"),
            "no projector",
        )),
    }
}
