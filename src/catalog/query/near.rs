//! The stars that are nearest to a place.

use super::session::Session;
use super::sql::{Chosen, Select};
use super::{MORE, Query, Region};
use crate::catalog::Column;
use crate::error::Result;

/// The numbers of the stars, `count` of each image, that are nearest to a place and fulfil the condition.
/// A box round the place grows until it has enough of them.
pub(super) fn nearest(
    session: &Session,
    query: &Query,
    images: &[i64],
    (x, y): (f64, f64),
    count: u64,
) -> Result<Vec<i64>> {
    let columns: Vec<Column> = MORE
        .into_iter()
        .filter(|column| matches!(column.name, "star_id" | "distance"))
        .collect();
    let region = Region::Near { x, y, count };
    let mut nearest = Vec::new();
    for image in images {
        let mut reach = session.reach(*image, count)?;
        loop {
            let is_all = reach > MOST;
            let select = Select {
                columns: &columns,
                chosen: Chosen::Images(vec![*image]),
                region: Some(&region),
                reach: (!is_all).then_some(reach),
                condition: query.condition.as_deref(),
                limit: Some(count),
                ..Select::default()
            };
            let mut found = Vec::new();
            session.each(&select, |row| {
                let star = row.get(1).and_then(|id| Ok((id, row.get(2)?)));
                let (id, distance): (i64, f64) = star.map_err(|error| session.error(&error))?;
                // Stars in the corners of the box are further away than some stars outside of it.
                if is_all || distance <= reach {
                    found.push(id);
                }
                Ok(())
            })?;
            if is_all || found.len() as u64 >= count {
                nearest.extend(found);
                break;
            }
            reach *= 2.0;
        }
    }
    Ok(nearest)
}

/// Largest reach of the box, pixels: beyond it every star of the image is taken.
const MOST: f64 = 1e6;
