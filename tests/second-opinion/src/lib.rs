//! Nothing of its own: the tests compare `rt-cgroups` with libcgroups, which is in no program of
//! ours (docs/dependencies.md).
