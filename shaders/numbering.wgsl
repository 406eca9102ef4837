// How many invocations have each number: see src/backend/gpu/subgroup.rs.

@group(0) @binding(0) var<storage, read_write> seen: array<atomic<u32>, WORKGROUP_SIZE>;

@compute @workgroup_size(WORKGROUP_SIZE)
fn count_numbers(invocation: Invocation) {
    atomicAdd(&seen[min(number_of(invocation), WORKGROUP_SIZE - 1u)], 1u);
}
