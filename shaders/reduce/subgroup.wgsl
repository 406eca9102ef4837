// Several lanes a star, neighbours in one subgroup: they add up without memory or barrier.

fn lane_of(number: u32) -> u32 {
    return number % LANES;
}

fn place_of(number: u32) -> u32 {
    return number / LANES;
}

fn store(term: u32, sum: f32, number: u32, slot: u32) {
    var all = sum;
    for (var step = 1u; step < LANES; step *= 2u) {
        all += subgroupShuffleXor(all, step);
    }
    // All lanes have the sum now, and take turns to store one.
    if lane_of(number) == term % LANES {
        sums[term * info.stars + slot] = all;
    }
}

fn reduce(group: u32, number: u32) {}
