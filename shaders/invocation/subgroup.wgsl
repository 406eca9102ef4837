// The number of an invocation in its workgroup, such that neighbours share a subgroup: the language
// does not promise that for its own count. src/backend/gpu/subgroup.rs checks that each number is there
// once.

struct Invocation {
    @builtin(subgroup_id) subgroup: u32,
    @builtin(subgroup_size) size: u32,
    @builtin(subgroup_invocation_id) index: u32,
}

fn number_of(invocation: Invocation) -> u32 {
    return invocation.subgroup * invocation.size + invocation.index;
}
