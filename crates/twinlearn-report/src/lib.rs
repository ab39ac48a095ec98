//! One HTML page about a model or a reduction, which holds everything it needs: no network, readable
//! on a phone, in dark mode, by keyboard and, for its words and tables, without scripts.
//!
//! Charts are drawn by Apache ECharts 6.1.0 (`assets/echarts.min.js` as published, Apache-2.0).
//!
//! ```
//! use twinlearn::{Context, Matrix};
//! use twinlearn_report::Report;
//!
//! let z = Matrix::new(50, 3, (0..150).map(|i| (i as f32 * 0.7).sin()).collect())?;
//! let texts: Vec<String> = (0..50).map(|i| format!("row & text {i}")).collect();
//! let report = Report::new("My vectors").map(&Context::new()?, &z, None, Some(&texts), 0)?;
//! assert!(report.to_html().contains("<h1>My vectors</h1>"));
//! # Ok::<(), twinlearn::Error>(())
//! ```

mod body;
mod map;
mod page;

use twinlearn::{
    Advice, Context, Error, Evaluation, Model, Pca, QueryReport, Result, Subset, Vectors,
};

use crate::map::{MAX_POINTS, Map};

/// Losses that are drawn, at most: of more, means of neighbouring steps.
const MAX_LOSSES: usize = 2000;

/// What a page is made of. Everything but the title is optional.
#[derive(Debug, Default)]
pub struct Report {
    title: String,
    /// (step, loss).
    losses: Vec<(usize, f64)>,
    /// (step, held-out recall).
    recalls: Vec<(usize, f64)>,
    evaluation: Option<Evaluation>,
    advice: Option<Advice>,
    /// What a fit for queries was worth.
    queries: Vec<String>,
    spectrum: Vec<f64>,
    map: Option<Map>,
    /// Headings, and under each names and values.
    facts: Vec<(String, Vec<(String, String)>)>,
}

impl Report {
    /// A page of this title.
    #[must_use]
    pub fn new(title: impl Into<String>) -> Self {
        Self { title: title.into(), ..Self::default() }
    }

    /// (step, loss) of every step and (step, held-out recall) of every epoch.
    #[must_use]
    pub fn training(mut self, losses: &[(usize, f64)], recalls: &[(usize, f64)]) -> Self {
        let run = losses.len().div_ceil(MAX_LOSSES).max(1);
        let mean = |part: &[(usize, f64)]| {
            let sum: f64 = part.iter().map(|(_, loss)| loss).sum();
            (part[part.len() / 2].0, sum / part.len() as f64)
        };
        self.losses = losses.chunks(run).map(mean).collect();
        self.recalls = recalls.to_vec();
        self
    }

    /// The table of what reductions keep, and recall against dimension where it was measured.
    #[must_use]
    pub fn evaluation(mut self, evaluation: Evaluation) -> Self {
        self.evaluation = Some(evaluation);
        self
    }

    /// The verdict and its curves.
    #[must_use]
    pub fn advice(mut self, advice: Advice) -> Self {
        self.advice = Some(advice);
        self
    }

    /// The hyper-parameters and what the training did; what training on queries was worth, where it was
    /// done.
    #[must_use]
    pub fn model(mut self, model: &Model) -> Self {
        let fields = |value: serde_json::Result<serde_json::Value>| match value {
            Ok(serde_json::Value::Object(fields)) => {
                fields.iter().map(|(name, value)| (name.clone(), body::plain(value))).collect()
            }
            _ => Vec::new(),
        };
        let queries = model.training().queries.as_ref();
        let reported = queries.and_then(|queries| queries.validation.as_ref());
        self.queries = reported.map(QueryReport::sentences).unwrap_or_default();
        let shape = format!("{} → {}", model.n_features(), model.n_components());
        let mut training = vec![("dimensions".to_owned(), shape)];
        training.extend(fields(serde_json::to_value(model.training())));
        self.facts.push(("Training".to_owned(), training));
        self.facts
            .push(("Hyper-parameters".to_owned(), fields(serde_json::to_value(model.params()))));
        self
    }

    /// Names and values under a heading.
    #[must_use]
    pub fn facts(mut self, heading: &str, facts: &[(&str, String)]) -> Self {
        let facts = facts.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
        self.facts.push((heading.to_owned(), facts));
        self
    }

    /// The spectrum of reduced vectors and a map of them (their two main axes): of 50,000 rows drawn
    /// with `seed` where there are more. Labels colour it and texts are shown for what is pointed
    /// at, one for each row. Equal rows have neither spectrum nor map.
    ///
    /// # Errors
    /// When there is not one label or text for each row, rows cannot be read, or the work is
    /// cancelled.
    pub fn map(
        mut self,
        ctx: &Context,
        z: &dyn Vectors,
        labels: Option<&[String]>,
        texts: Option<&[String]>,
        seed: u64,
    ) -> Result<Self> {
        for (name, given) in [("labels", labels), ("texts", texts)] {
            if let Some(given) = given.filter(|given| given.len() != z.n_rows()) {
                return Err(Error::Invalid {
                    name: name.to_owned(),
                    expected: format!("{}, one for each row", z.n_rows()),
                    actual: given.len().to_string(),
                });
            }
        }
        let ids = twinlearn::sample_rows(seed, z.n_rows(), MAX_POINTS);
        let rows = Subset::new(z, &ids)?;
        if let Some(pca) = Pca::fit(ctx, &rows)? {
            self.map = Some(Map::new(ctx, &pca, &rows, &ids, labels, texts)?);
            self.spectrum = pca.std().to_vec();
        }
        Ok(self)
    }

    /// The page.
    #[must_use]
    pub fn to_html(&self) -> String {
        page::page(self)
    }
}
