//! `linux.intelRdt` (config-linux.md "IntelRdt"): the class of service and what is written into its
//! `schemata`.

use super::Lowering;
use crate::spec::{Fault, Pointer};

/// What the container wants of resctrl.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Resctrl {
    /// The class of service that it shares; without, one of its own. `/` is the default class.
    pub class: Option<String>,
    /// Lines of `schemata`, in the order in which they are written.
    pub schemata: Vec<String>,
    /// Monitor it in a group of its own.
    pub monitoring: bool,
}

impl Lowering<'_> {
    pub(super) fn resctrl(&mut self) -> Option<Resctrl> {
        let wanted = self.linux()?.intel_rdt.as_ref()?;
        let class = wanted.clos_id.as_deref().filter(|c| !c.is_empty());
        if let Some(class) = class
            && class != "/"
            && (class == "." || class == ".." || class.contains(['/', '\0']))
        {
            let fault = Fault::Value { value: class.to_owned(), why: "is no name of a directory below resctrl" };
            self.wrong(Pointer::new("/linux/intelRdt/closID"), fault);
        }
        let lines = |text: &Option<crate::spec::Text<'_>>| -> Vec<String> {
            let text = text.as_deref().unwrap_or_default();
            text.lines().map(str::trim).filter(|l| !l.is_empty()).map(str::to_owned).collect()
        };
        let bandwidth = lines(&wanted.mem_bw_schema);
        let mut schemata = lines(&wanted.l3_cache_schema);
        if !bandwidth.is_empty() {
            // memBwSchema wins over what the cache's schema says of bandwidth.
            schemata.retain(|line| !line.starts_with("MB:"));
        }
        schemata.extend(bandwidth);
        for (i, line) in wanted.schemata.as_deref().unwrap_or_default().iter().enumerate() {
            if line.contains(['\n', '\0']) {
                let fault = Fault::Value { value: line.to_string(), why: "is not one line" };
                self.wrong(Pointer::index("/linux/intelRdt/schemata/{}", i), fault);
            }
            schemata.extend((!line.trim().is_empty()).then(|| line.trim().to_owned()));
        }
        let monitoring = wanted.enable_monitoring.unwrap_or(false);
        Some(Resctrl { class: class.map(str::to_owned), schemata, monitoring })
    }
}
