//! Judges whether positions on the sky can be believed. A mount writes its nominal pointing into each
//! header while the stars drift: then the brightest stars of one image are not where another image has
//! them, although the patterns of their stars are the same.
//!
//! Images whose bright stars link on the sky are a group. Of groups that are at the same place and do not
//! link, the group with the most images is believed. Each other group is registered to a group before it
//! by the pattern of its stars, where the pattern links far more of them. Where the sky links the stars,
//! patterns are not asked; images that do not overlap are no contradiction.

use std::cell::OnceCell;

use super::affine::{Affine, Point};
use super::grid::distance2;
use super::place::Frame;
use super::register::{Pattern, Registration};
use super::store::{StoredImage, StoredStar};
use super::{NO_PATTERN, Placement, pattern};

/// Number of stars that decide: the brightest stars that are in both images.
const JUDGED: usize = 60;

/// Number of the brightest stars among which the deciding stars are looked for.
const BRIGHTEST: usize = 400;

/// Least number of stars that decide.
const LEAST: usize = 6;

/// Largest distance between stars, in radii, as in linking.
const REACH: f64 = 5.0;

/// Count of the brightest stars of one image that another image has at the same place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Links {
    /// Number of stars with a star of the other image at their place.
    pub n: usize,
    /// Number of the brightest stars that both images should show.
    pub of: usize,
}

impl Links {
    fn share(self) -> f64 {
        self.n as f64 / self.of.max(1) as f64
    }

    /// Whether images with these links have the same coordinates. By chance a few stars in a hundred link.
    fn are_good(self) -> bool {
        self.can_tell() && 2 * self.n >= self.of
    }

    fn can_tell(self) -> bool {
        self.of >= LEAST
    }
}

/// How the positions of an image on the sky were corrected.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Refined {
    /// Registration from pixels of the image to pixels of its reference, whose WCS is used.
    pub registration: Registration,
    /// Place of the reference among the images.
    pub reference: usize,
    /// Links by the positions on the sky that the image itself states.
    pub by_sky: Links,
    /// Links by the pattern of the stars.
    pub by_pattern: Links,
}

/// Facts of an image that the judgement uses.
struct Judged<'a> {
    image: &'a StoredImage,
    frame: Frame,
    /// Direction of the middle of the image, and half its diagonal, radians.
    middle: [f64; 3],
    reach: f64,
    /// Largest distance between linked stars, pixels.
    radius: f64,
    sigma: f64,
    bright: Vec<&'a StoredStar>,
}

impl<'a> Judged<'a> {
    /// Facts of an image; `None` for an image without a WCS of its own.
    fn new(image: &'a StoredImage, radius: f64, sigma: f64) -> Option<Self> {
        let frame = Frame::new(image);
        let scale = frame.scale()?.to_radians();
        let (width, height) = image.size;
        let is_part = |star: &&StoredStar| {
            star.flux.is_finite() && !NO_PATTERN.iter().any(|flag| star.flags.contains(*flag))
        };
        let mut bright: Vec<&StoredStar> = image.stars.iter().filter(is_part).collect();
        let order = |a: &&StoredStar, b: &&StoredStar| b.flux.total_cmp(&a.flux);
        if bright.len() > BRIGHTEST {
            bright.select_nth_unstable_by(BRIGHTEST, order);
            bright.truncate(BRIGHTEST);
        }
        bright.sort_by(order);
        Some(Self {
            middle: frame.middle()?.direction(),
            reach: 0.5 * width.hypot(height) * scale,
            radius: radius / scale,
            sigma,
            image,
            frame,
            bright,
        })
    }

    /// Whether the images can have a star in common by their positions on the sky.
    fn is_near(&self, other: &Self) -> bool {
        let chord = (self.reach + other.reach).min(2.0);
        distance2(self.middle, other.middle) <= chord * chord
    }

    /// Counts the brightest stars of this image that the other image has where `map` puts them.
    fn links(&self, other: &Self, map: impl Fn(&StoredStar) -> Option<Point>) -> Links {
        let bright = self.bright.iter();
        let inside: Vec<(Point, f64)> = bright
            .filter_map(|star| {
                let place = map(star).filter(|place| other.frame.contains(*place))?;
                let error = star.x_err.hypot(star.y_err) / std::f64::consts::SQRT_2;
                Some((place, if error.is_finite() { error } else { 0.0 }))
            })
            .collect();
        // A deep image counts only as many stars as the other image has: the brightest are in both.
        let share = inside.len() as f64 / self.bright.len().max(1) as f64;
        let theirs = (share * other.bright.len() as f64).ceil() as usize;
        let of = inside.len().min(theirs).min(JUDGED);
        let is_linked = |((x, y), error): &&(Point, f64)| {
            let limit = (self.sigma * error).hypot(other.radius);
            let limit = limit.min(REACH * other.radius);
            // The stars are so few that a grid of the others would take longer.
            let mut others = other.image.stars.iter();
            others.any(|star| {
                let (dx, dy) = (star.x - x, star.y - y);
                dx * dx + dy * dy <= limit * limit
            })
        };
        Links {
            n: inside.iter().take(of).filter(is_linked).count(),
            of,
        }
    }

    /// Links by positions on the sky.
    fn links_by_sky(&self, other: &Self) -> Links {
        self.links(other, |star| other.frame.pixel_of(star.sky()?.0))
    }
}

/// Images that agree.
struct Group {
    /// The first image of the group.
    first: usize,
    members: Vec<usize>,
    /// How the group lies on the believed image, once the group is registered.
    refined: Option<Refined>,
}

/// Placements of the stars of images that all have positions on the sky; `radius` in radians.
pub(super) fn placements(images: &[StoredImage], radius: f64, sigma: f64) -> Vec<Placement> {
    let judged = images.iter().map(|image| Judged::new(image, radius, sigma));
    let judged: Vec<Option<Judged<'_>>> = judged.collect();
    let mut groups: Vec<Group> = Vec::new();
    for (index, image) in judged.iter().enumerate() {
        let Some(image) = image else {
            continue;
        };
        match group_of(image, &groups, &judged) {
            Some(group) => groups[group].members.push(index),
            None => groups.push(Group {
                first: index,
                members: vec![index],
                refined: None,
            }),
        }
    }
    // The largest group first; of equal groups the earliest, because the sort is stable.
    groups.sort_by_key(|group| std::cmp::Reverse(group.members.len()));
    let mut placements = vec![Placement::Sky; images.len()];
    // Nearly all groups are registered to the largest; patterns are large, and those of the others not kept.
    let believed = OnceCell::new();
    for at in 1..groups.len() {
        let (settled, rest) = groups.split_at_mut(at);
        let group = &mut rest[0];
        group.refined = refined(group, settled, &judged, &believed);
        let Some(refined) = group.refined else {
            continue;
        };
        for member in &group.members {
            let map = if *member == group.first {
                Some(refined.registration.map)
            } else {
                member_map(*member, group.first, refined.registration.map, &judged)
            };
            if let Some(map) = map {
                let registration = Registration {
                    map,
                    ..refined.registration
                };
                placements[*member] = Placement::Refined(Refined {
                    registration,
                    ..refined
                });
            }
        }
    }
    placements
}

/// The group whose stars are where this image has them. Only the first group at the same place, the
/// largest and the latest are asked: a night has one group where the sky is right, and perhaps as many
/// groups as images where the sky is wrong.
fn group_of(image: &Judged<'_>, groups: &[Group], judged: &[Option<Judged<'_>>]) -> Option<usize> {
    let first_of = |group: &Group| judged[group.first].as_ref();
    let mut near = groups
        .iter()
        .enumerate()
        .filter(|(_, group)| first_of(group).is_some_and(|first| image.is_near(first)));
    let mut asked: Vec<usize> = [
        near.clone().next(),
        near.clone().max_by_key(|(_, group)| group.members.len()),
        near.next_back(),
    ]
    .into_iter()
    .flatten()
    .map(|(at, _)| at)
    .collect();
    asked.dedup();
    let links = |at: &usize| {
        let first = first_of(&groups[*at]);
        first.is_some_and(|first| image.links_by_sky(first).are_good())
    };
    asked.into_iter().find(links)
}

/// How a group lies on an earlier group, where its pattern links far more stars than the sky. Only the
/// largest group and the two groups nearest in time are asked.
fn refined(
    group: &Group,
    settled: &[Group],
    judged: &[Option<Judged<'_>>],
    believed: &OnceCell<Pattern>,
) -> Option<Refined> {
    let image = judged[group.first].as_ref()?;
    let own = OnceCell::new();
    let mut asked: Vec<&Group> = settled.iter().skip(1).collect();
    asked.sort_by_key(|other| other.first.abs_diff(group.first));
    asked.truncate(2);
    let mut asked = settled.iter().take(1).chain(asked).enumerate();
    asked.find_map(|(at, other)| {
        let first = judged[other.first].as_ref()?;
        if !image.is_near(first) {
            return None;
        }
        let by_sky = image.links_by_sky(first);
        if !by_sky.can_tell() || by_sky.are_good() {
            return None;
        }
        let own = own.get_or_init(|| pattern(image.image));
        let registration = match at {
            0 => own.register(believed.get_or_init(|| pattern(first.image)))?,
            _ => own.register(&pattern(first.image))?,
        };
        let map = registration.map;
        let by_pattern = image.links(first, |star| Some(map.apply(star.pixel())));
        let is_better = by_pattern.are_good() && by_pattern.share() >= 2.0 * by_sky.share();
        let (map, reference) = match &other.refined {
            Some(before) => (map.then(&before.registration.map), before.reference),
            None => (map, other.first),
        };
        is_better.then_some(Refined {
            registration: Registration {
                map,
                ..registration
            },
            reference,
            by_sky,
            by_pattern,
        })
    })
}

/// The map of an image that agrees on the sky with the first image of its group, by the map of the first.
fn member_map(
    member: usize,
    first: usize,
    map: Affine,
    judged: &[Option<Judged<'_>>],
) -> Option<Affine> {
    /// Places along each side that the map is fitted to.
    const PLACES: u32 = 5;
    let (member, first) = (judged[member].as_ref()?, judged[first].as_ref()?);
    let (width, height) = member.image.size;
    let along = |side: f64, k: u32| side * f64::from(k) / f64::from(PLACES - 1);
    let places = (0..PLACES).flat_map(|i| (0..PLACES).map(move |j| (i, j)));
    let pairs = places.filter_map(|(i, j)| {
        let place = (along(width, i), along(height, j));
        let sky = member.frame.sky_of(place)?;
        Some((place, map.apply(first.frame.pixel_of(sky)?)))
    });
    Affine::fit(&pairs.collect::<Vec<_>>())
}

/// Gives the stars of corrected images the places on the sky that the WCS of their reference has
/// for them.
pub(super) fn correct(images: &mut [StoredImage], placements: &[Placement]) {
    for (index, placement) in placements.iter().enumerate() {
        let Placement::Refined(refined) = placement else {
            continue;
        };
        let frame = Frame::new(&images[refined.reference]);
        let map = refined.registration.map;
        for star in &mut images[index].stars {
            let (x, y) = map.apply(star.pixel());
            let (x_err, y_err) = map.errors((star.x_err, star.y_err));
            star.set_sky(frame.to_sky([(x, Some(x_err)), (y, Some(y_err))]));
        }
    }
}
