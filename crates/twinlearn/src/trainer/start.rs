//! Where training begins: the encoder from a closed form, chance or a model.

use twinlearn_core::context::Context;
use twinlearn_core::error::{Error, Result};
use twinlearn_core::random::{Purpose, generator};
use twinlearn_knn::Metric;
use twinlearn_vectors::Vectors;

use super::step::Networks;
use super::validation::{Asking, Watch};
use crate::closed::ClosedForms;
use crate::linear_map::LinearMap;
use crate::model::Model;
use crate::nn::Network;
use crate::pairs::Pairs;
use crate::params::{Init, Loss, Params, Solver};
use crate::spectral::SharedAxes;

/// By how much closed forms' recall of one query differs, about twice: on the whole none of them is
/// ahead of another by much.
const SPREAD: f64 = 0.2;
/// The margins by which forms must be ahead that differ from the others by more than that.
const UNLIKE: f64 = 2.0;

/// The closed form that keeps most held-out neighbours, and how many.
pub(super) struct BestForm {
    pub(super) name: String,
    pub(super) map: LinearMap,
    pub(super) recall: Option<f64>,
}

/// The best closed forms at d.
pub(super) struct BestForms {
    /// The best that training can begin with.
    pub(super) start: BestForm,
    /// The best of the others, which take the mean off, where it keeps more than that.
    pub(super) centred: Option<BestForm>,
}

impl BestForms {
    /// The best of all.
    pub(super) fn best(self) -> BestForm {
        self.centred.unwrap_or(self.start)
    }
}

/// The best closed forms at d by `watch`; without one, or where several are alike, the first of PCA.
/// Others must keep more than that by the margin of few watched queries; those that few rows may rule,
/// of rows with other lengths and with the mean off, by [`UNLIKE`] of it.
pub(super) fn best_forms(
    ctx: &Context,
    forms: &ClosedForms,
    d: usize,
    watch: Option<&Watch<'_>>,
) -> Result<BestForms> {
    let for_queries = watch.is_some_and(|watch| watch.n_queries(Asking::Queries) > 0);
    let mut maps = forms.maps(d, for_queries)?;
    let (name, map) = maps.remove(0);
    let Some(watch) = watch else {
        let start = BestForm { name, map, recall: None };
        return Ok(BestForms { start, centred: None });
    };
    let form = |(name, map): (String, LinearMap)| {
        let scores = watch.scores(ctx, &|ctx, x| map.transform(ctx, x))?;
        Result::Ok(BestForm { name, map, recall: Some(watch.mean(&scores)) })
    };
    let best_above = |mut bar: Option<f64>, maps: Vec<_>| {
        let mut best = None;
        for map in maps {
            let form = form(map)?;
            if form.recall > bar {
                bar = form.recall;
                best = Some(form);
            }
        }
        Result::Ok(best)
    };
    let margin = watch.margin(SPREAD);
    let above = |form: &BestForm, times: f64| form.recall.map(|recall| recall + times * margin);
    let first = form((name, map))?;
    let of_rows = best_above(above(&first, 1.0), maps)?.unwrap_or(first);
    let of_lengths = best_above(above(&of_rows, UNLIKE), forms.maps_of_lengths(d)?)?;
    let start = of_lengths.unwrap_or(of_rows);
    let centred = best_above(above(&start, UNLIKE), forms.centred_maps(d)?)?;
    Ok(BestForms { start, centred })
}

/// The networks before training. `map` is what the encoder begins as with init best: the best closed
/// form, or a trained linear encoder.
pub(super) fn networks(
    params: &Params,
    ctx: &Context,
    x: &dyn Vectors,
    pairs: &Pairs,
    forms: Option<&ClosedForms>,
    map: Option<LinearMap>,
    model: Option<&Model>,
) -> Result<Networks> {
    let (d, norm) = (params.n_components, params.norm_layer);
    let mut rng = generator(params.seed, Purpose::Init, 0);
    let pca = forms.map(ClosedForms::pca);
    let map = match (params.init, pca) {
        (Init::Best, _) => map,
        (Init::Pca, Some(pca)) => Some(about(params, pca.projection(d, params.pca_power)?)),
        (Init::Spectral, Some(pca)) => {
            let axes = SharedAxes::of(ctx, x, pairs, pca.mean(), d)?.ok_or_else(|| {
                let expected = "rows that vary together with their neighbours, as spectral needs";
                Error::invalid("init", expected, "none that do")
            })?;
            if axes.n_shared() < d {
                ctx.warn(&format!(
                    "init spectral: neighbours share {} of {d} axes, the other columns begin as 0 (of few \
                     rows a smaller n_neighbors shares more)",
                    axes.n_shared()
                ));
            }
            Some(about(params, axes.map(d, params.pca_power)?))
        }
        _ => None,
    };
    let given = model.filter(|_| params.init == Init::Model).map(Model::networks);
    let encoder = match (given, map, forms) {
        (Some((encoder, _)), ..) => encoder.clone(),
        (None, Some(map), Some(forms)) => {
            let (means, spreads) = (forms.pca().means(&map), forms.spreads(ctx, &map));
            let LinearMap { weight, bias } = &map;
            Network::carrying(&params.encoder, weight, bias, [&means, &spreads], &mut rng)
        }
        _ => Network::random(&params.encoder, norm, x.dim(), d, &mut rng),
    };
    let projector = params.projector.as_ref().filter(|_| params.solver == Solver::Sgd);
    let retained = given.and_then(|(_, projector)| projector);
    let projector = projector.map(|spec| match retained {
        Some(projector) => projector.clone(),
        None => {
            let mut rng = generator(params.seed, Purpose::Init, 1);
            let width = params.projector_width(spec, x.dim());
            let mut projector = Network::random(spec, norm, d, width, &mut rng);
            if params.loss == Loss::MSE {
                // What is given back should begin no larger than rows of length 1.
                projector.scale_output(1.0 / (width as f64).sqrt());
            }
            projector
        }
    });
    Ok(Networks { encoder, projector })
}

/// Cosines and inner products are about the origin, which centring would move; a centred target is
/// about the mean, and hidden layers expect centred outputs.
fn about(params: &Params, map: LinearMap) -> LinearMap {
    let uncentred =
        params.metric != Metric::L2 && !params.centre_target && params.encoder.hidden().is_empty();
    if uncentred { map.without_bias() } else { map }
}

/// Refuses a model that has not the networks that `params` describe.
pub(super) fn check_model(params: &Params, dim: usize, model: &Model) -> Result<()> {
    let of = |p: &Params, features: usize| {
        let norm = match p.encoder.hidden() {
            [] => String::new(),
            _ => format!(", {}", p.norm_layer),
        };
        format!("{}{norm}, {features} → {} dimensions", p.encoder, p.n_components)
    };
    let (wanted, got) = (of(params, dim), of(model.params(), model.n_features()));
    if wanted != got {
        return Err(Error::invalid("model", format_args!("one with the encoder {wanted}"), got));
    }
    let (_, projector) = model.networks();
    let (Some(spec), Some(projector), Some(own)) =
        (&params.projector, projector, &model.params().projector)
    else {
        // A projector that was not retained begins anew.
        return Ok(());
    };
    let width = params.projector_width(spec, dim);
    if own == spec && projector.out_width() == width {
        return Ok(());
    }
    Err(Error::invalid(
        "model",
        format_args!("the projector {spec} to {width} dimensions"),
        format_args!("{own} to {}", projector.out_width()),
    ))
}
