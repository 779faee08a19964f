//! Takes the commit into `rt --version`, where there is a checkout to ask, and lays out the program
//! for a quick start.

use std::path::Path;
use std::process::Command;
use std::{env, fs};

/// The functions that the commands of a container's life run, those of most commands first;
/// `hack/order` writes it.
const ORDER: &str = "src/startup/startup.order";

fn main() {
    println!("cargo:rerun-if-changed=../../.git/HEAD");
    println!("cargo:rerun-if-changed=../../.git/refs/heads");
    let output = Command::new("git").args(["rev-parse", "--short=12", "HEAD"]).output();
    let commit = match output {
        Ok(output) if output.status.success() => String::from_utf8_lossy(&output.stdout).trim().to_owned(),
        _ => "unknown".to_owned(),
    };
    println!("cargo:rustc-env=RT_COMMIT={commit}");

    println!("cargo:rerun-if-changed={ORDER}");
    if env::var("PROFILE").is_ok_and(|profile| profile == "release") {
        let script = Path::new(&env::var("OUT_DIR").expect("cargo sets OUT_DIR")).join("startup.ld");
        let order = fs::read_to_string(ORDER).expect("startup.order is part of the crate");
        fs::write(&script, side_by_side(&order)).expect("OUT_DIR is writable");
        println!("cargo:rustc-link-arg-bin=rt=-Wl,-T,{}", script.display());
        // What the linker did with the names, for `hack/order --check`:
        // target/TRIPLE/release/rt.map.
        let out = env::var("OUT_DIR").expect("cargo sets OUT_DIR");
        let map = Path::new(&out).ancestors().nth(3).expect("OUT_DIR is below the profile's directory").join("rt.map");
        println!("cargo:rustc-link-arg-bin=rt=-Wl,-Map,{}", map.display());
    }
}

/// A linker script that puts the named functions side by side. The kernel maps 64 KiB of the
/// program around each page that is touched, so functions strewn over all of it cost page faults
/// and memory. A name that no longer exists does no harm by itself; `hack/order --check` fails when
/// there are too many. Beside them go the C library's entry and its functions in assembler, which
/// have no sections of their own, and beside the initialised data its variables, which would lie
/// behind the allocator's large room.
///
/// Tables for unwinding are left out: a panic ends the program, and without symbols a backtrace
/// would say nothing.
fn side_by_side(order: &str) -> String {
    let names = order.lines().filter(|line| !line.starts_with('#'));
    let sections: String = names.map(|name| format!("*(.text.{name} .text.unlikely.{name})\n")).collect();
    let assembler: String = ["memcpy", "memmove", "memset"].map(|name| format!("*libc.a:{name}.lo(.text)\n")).concat();
    format!(
        "SECTIONS {{\n/DISCARD/ : {{ *(EXCLUDE_FILE(*crtbegin*.o *crtend*.o) .eh_frame) *(.gcc_except_table .gcc_except_table.*) }}\n\
         .text.startup_order : {{\n*crt1.o(.text .text.*)\n{assembler}{sections}}} }}\nINSERT BEFORE .text;\n\
         SECTIONS {{ .bss.libc (NOLOAD) : {{ *libc.a:*(.bss .bss.* COMMON) }} }}\nINSERT BEFORE .bss;\n"
    )
}
