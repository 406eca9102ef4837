// Several lanes a star: one barrier, then invocation k adds up term k over the lanes of a star.

fn lane_of(number: u32) -> u32 {
    return number / STARS;
}

// Neighbouring invocations read neighbouring words.
fn place_of(number: u32) -> u32 {
    return number % STARS;
}

var<workgroup> partial: array<f32, TERMS * WORKGROUP_SIZE>;

fn store(term: u32, sum: f32, number: u32, slot: u32) {
    partial[term * WORKGROUP_SIZE + number] = sum;
}

fn reduce(group: u32, number: u32) {
    workgroupBarrier();
    for (var i = number; i < TERMS * STARS; i += WORKGROUP_SIZE) {
        let term = i / STARS;
        let place = i % STARS;
        var sum = 0.0;
        for (var lane = 0u; lane < LANES; lane += 1u) {
            sum += partial[term * WORKGROUP_SIZE + lane * STARS + place];
        }
        let slot = group * STARS + place;
        if slot < info.stars {
            sums[term * info.stars + slot] = sum;
        }
    }
}
