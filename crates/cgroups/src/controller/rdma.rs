//! `rdma`: handles and objects per device. The file is the same on v1 and v2.

use std::collections::BTreeMap;

use rt_resources::check::escape;
use rt_resources::model::Rdma;

use crate::error::Error;
use crate::knobs::Knobs;

/// Sets the limits of each device.
pub(crate) fn set(knobs: Knobs<'_>, limits: &BTreeMap<String, Rdma>) -> Result<(), Error> {
    for (device, limit) in limits {
        knobs.set(&format!("/rdma/{}", escape(device)), "rdma.max", line(device, limit))?;
    }
    Ok(())
}

fn line(device: &str, limit: &Rdma) -> String {
    let field = |key, value: Option<u32>| value.map(|value| format!(" {key}={value}")).unwrap_or_default();
    format!("{device}{}{}", field("hca_handle", limit.hca_handles), field("hca_object", limit.hca_objects))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_set_is_written() {
        let limit = |hca_handles, hca_objects| line("mlx5_1", &Rdma { hca_handles, hca_objects });
        assert_eq!(limit(Some(3), Some(1000)), "mlx5_1 hca_handle=3 hca_object=1000");
        assert_eq!(limit(None, Some(1000)), "mlx5_1 hca_object=1000");
    }
}
