//! `containerd-shim-rt-v1`.

fn main() -> std::process::ExitCode {
    rt_shim::run(std::env::args_os().skip(1))
}
