//! Reduced vectors on a plane.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;
use twinlearn::{Context, Pca, Result, Vectors};

/// Points that are drawn, at most.
pub(crate) const MAX_POINTS: usize = 50_000;
/// Labels that get a colour of their own; the rarer ones share one.
const MAX_GROUPS: usize = 12;
/// Letters of a text that are kept.
const MAX_TEXT: usize = 300;

/// As the script reads it.
#[derive(Debug, Serialize)]
pub(crate) struct Map {
    /// x and y of every point, f32 in base64.
    points: String,
    /// The rows that the points are.
    rows: Vec<u32>,
    groups: Vec<String>,
    /// Each point's group; empty where there are none.
    group: Vec<u32>,
    /// Each point's text; empty where there are none.
    texts: Vec<String>,
}

impl Map {
    pub(crate) fn new(
        ctx: &Context,
        pca: &Pca,
        z: &dyn Vectors,
        rows: &[u32],
        labels: Option<&[String]>,
        texts: Option<&[String]>,
    ) -> Result<Self> {
        let plane = pca.projection(z.dim().min(2), 0.0)?.transform(ctx, z)?;
        let mut points = Vec::with_capacity(2 * rows.len());
        for i in 0..rows.len() {
            // Vectors of one dimension lie on a line.
            points.extend([plane.row(i)[0], plane.row(i).get(1).copied().unwrap_or(0.0)]);
        }
        let of = |all: &[String]| rows.iter().map(|&r| all[r as usize].clone()).collect::<Vec<_>>();
        let (groups, group) = labels.map(|labels| grouped(&of(labels))).unwrap_or_default();
        let short = |text: String| match text.char_indices().nth(MAX_TEXT) {
            Some((end, _)) => format!("{}…", &text[..end]),
            None => text,
        };
        let texts = texts.map(|t| of(t).into_iter().map(short).collect()).unwrap_or_default();
        Ok(Self {
            points: STANDARD.encode(bytemuck::cast_slice(&points)),
            rows: rows.to_vec(),
            groups,
            group,
            texts,
        })
    }
}

/// The commonest labels, each a group, and the others as one; and each row's group.
fn grouped(labels: &[String]) -> (Vec<String>, Vec<u32>) {
    let mut counts = BTreeMap::<&str, usize>::new();
    labels.iter().for_each(|label| *counts.entry(label).or_default() += 1);
    let mut order: Vec<(&str, usize)> = counts.into_iter().collect();
    // Ties stay in the order of their names.
    order.sort_by_key(|&(_, count)| std::cmp::Reverse(count));
    let mut groups: Vec<String> =
        order.iter().take(MAX_GROUPS).map(|(label, _)| (*label).to_owned()).collect();
    let place: BTreeMap<&str, u32> =
        order.iter().map(|(label, _)| *label).take(MAX_GROUPS).zip(0..).collect();
    let others = groups.len() as u32;
    let group = labels.iter().map(|l| place.get(l.as_str()).copied().unwrap_or(others)).collect();
    if order.len() > MAX_GROUPS {
        groups.push(format!("{} others", order.len() - MAX_GROUPS));
    }
    (groups, group)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rare_labels_share_a_group() {
        let labels: Vec<String> = (0..100)
            .map(|i| if i < 60 { "often".to_owned() } else { format!("l{}", i % 20) })
            .collect();
        let (groups, group) = grouped(&labels);
        assert_eq!(groups.len(), MAX_GROUPS + 1);
        assert_eq!((groups[0].as_str(), groups[MAX_GROUPS].as_str()), ("often", "9 others"));
        assert_eq!(group.iter().filter(|&&g| g == 0).count(), 60);
        assert_eq!(group.iter().filter(|&&g| g == MAX_GROUPS as u32).count(), 18);
    }
}
