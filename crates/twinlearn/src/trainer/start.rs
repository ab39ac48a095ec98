//! Where training begins: the encoder from PCA, the closed form, chance or a model.

use super::step::Networks;
use crate::context::Context;
use crate::data::Vectors;
use crate::error::{Error, Result};
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
        (Init::Model, _, Some(model)) => return of_model(params, x.dim(), model),
        (Init::Pca, Some(pca), _) => Some((pca, pca.projection(d, params.pca_power)?)),
        (Init::Spectral, Some(pca), _) => {
            Some((pca, neighbour_map(ctx, x, pairs, pca.mean(), d, params.pca_power)?))
        }
        _ => None,
    };
    let encoder = match map {
        Some((pca, map)) => {
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

/// The networks of a model, if they are those that `params` describe.
fn of_model(params: &Params, dim: usize, model: &Model) -> Result<Networks> {
    let of = |p: &Params, features: usize| {
        format!("{} from {features} to {} with {}", p.encoder, p.n_components, p.norm_layer)
    };
    let (wanted, got) = (of(params, dim), of(model.params(), model.n_features()));
    if wanted != got {
        return Err(Error::invalid("model", format_args!("the encoder {wanted}"), got));
    }
    let (encoder, projector) = model.networks();
    let Some(spec) = &params.projector else {
        return Ok(Networks { encoder: encoder.clone(), projector: None });
    };
    let width = params.projector_width(spec, dim);
    match projector {
        Some(projector)
            if model.params().projector.as_ref() == Some(spec)
                && projector.out_width() == width =>
        {
            Ok(Networks { encoder: encoder.clone(), projector: Some(projector.clone()) })
        }
        Some(projector) => Err(Error::invalid(
            "model",
            format_args!("the projector {spec} to {width} dimensions"),
            format_args!(
                "{} to {}",
                model.params().projector.as_ref().map_or("none".to_owned(), ToString::to_string),
                projector.out_width()
            ),
        )),
        None => Err(Error::invalid(
            "model",
            format_args!("one that retained its projector {spec} (or projector none)"),
            "no projector",
        )),
    }
}
