// The number of an invocation in its workgroup, as the language counts.

struct Invocation {
    @builtin(local_invocation_index) index: u32,
}

fn number_of(invocation: Invocation) -> u32 {
    return invocation.index;
}
