//! Adapters and the device, with its limits and its end.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use wgpu::{AdapterInfo, DeviceType};

use crate::error::{Error, Result};

/// Longest wait for one submission: drivers give up on a kernel after seconds.
const TIMEOUT: Duration = Duration::from_secs(60);

/// An adapter of this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AdapterSummary {
    /// Name by which `--device` finds it.
    pub name: String,
    /// Vulkan, Metal or DX12, with the driver.
    pub driver: String,
    /// Whether the adapter runs on the CPU.
    pub is_software: bool,
}

impl AdapterSummary {
    fn new(info: &AdapterInfo) -> Self {
        Self {
            name: info.name.clone(),
            driver: format!("{} {} {}", info.backend, info.driver, info.driver_info)
                .trim()
                .to_owned(),
            is_software: info.device_type == DeviceType::Cpu,
        }
    }
}

/// The adapters of this machine, the one to be preferred first.
pub fn adapters() -> Vec<AdapterSummary> {
    enumerate()
        .iter()
        .map(|adapter| AdapterSummary::new(&adapter.get_info()))
        .collect()
}

fn enumerate() -> Vec<wgpu::Adapter> {
    let mut descriptor = wgpu::InstanceDescriptor::new_without_display_handle();
    descriptor.backends = wgpu::Backends::PRIMARY;
    let instance = wgpu::Instance::new(descriptor);
    let mut adapters = pollster::block_on(instance.enumerate_adapters(wgpu::Backends::PRIMARY));
    adapters.sort_by_key(|adapter| match adapter.get_info().device_type {
        DeviceType::DiscreteGpu => 0,
        DeviceType::IntegratedGpu => 1,
        DeviceType::VirtualGpu => 2,
        DeviceType::Other => 3,
        DeviceType::Cpu => 4,
    });
    adapters
}

/// An open device.
#[derive(Debug)]
pub(super) struct Gpu {
    pub(super) device: wgpu::Device,
    pub(super) queue: wgpu::Queue,
    pub(super) summary: AdapterSummary,
    /// Nanoseconds to a tick of the device's clock, where it can be asked for the time of a kernel.
    pub(super) tick: Option<f32>,
    /// Fewest invocations to a subgroup; 0 where they cannot exchange numbers.
    pub(super) subgroup: u32,
    /// The first error that the device reported outside a call, and what it was about.
    fault: Arc<Mutex<Option<String>>>,
}

impl Gpu {
    /// Opens the adapter whose name contains `name`, without regard to case; without a name the
    /// best there is.
    pub(super) fn open(name: Option<&str>) -> Result<Self> {
        let adapters = enumerate();
        let names: Vec<String> = adapters
            .iter()
            .map(|adapter| adapter.get_info().name)
            .collect();
        let wanted = name.map(str::to_lowercase);
        let adapter = adapters
            .into_iter()
            .find(|adapter| {
                let name = adapter.get_info().name.to_lowercase();
                wanted.as_ref().is_none_or(|wanted| name.contains(wanted))
            })
            .ok_or_else(|| match name {
                Some(name) if !names.is_empty() => Error::Option {
                    option: "--device".into(),
                    expected: format!("one of {}", names.join(", ")),
                    found: name.into(),
                    hint: Some("any part of the name will do; `starfit devices` lists them".into()),
                },
                _ => Error::Device {
                    what: "no GPU and no software driver found (Vulkan, Metal or DX12)".into(),
                    hint: Some("use --backend cpu, or install a driver: on Debian and Ubuntu `apt install mesa-vulkan-drivers`".into()),
                },
            })?;
        let info = adapter.get_info();
        let request = adapter.request_device(&wgpu::DeviceDescriptor {
            label: Some("starfit"),
            required_features: adapter.features()
                & (wgpu::Features::TIMESTAMP_QUERY | wgpu::Features::SUBGROUP),
            // The default limits would cut a chunk to 128 MiB of pixels.
            required_limits: adapter.limits(),
            ..Default::default()
        });
        let (device, queue) = pollster::block_on(request).map_err(|error| Error::Device {
            what: format!("{}: cannot be opened: {error}", info.name),
            hint: Some("use --backend cpu".into()),
        })?;
        let fault = Arc::new(Mutex::new(None));
        let on_error = |fault: &Arc<Mutex<Option<String>>>| {
            let fault = Arc::clone(fault);
            move |text: String| {
                fault
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .get_or_insert(text);
            }
        };
        // Without a handler an error outside a call would be a panic.
        let keep = on_error(&fault);
        device.on_uncaptured_error(Arc::new(move |error: wgpu::Error| keep(error.to_string())));
        let keep = on_error(&fault);
        device.set_device_lost_callback(move |reason, text| {
            keep(format!("device lost ({reason:?}): {text}"));
        });
        let has_clock = device.features().contains(wgpu::Features::TIMESTAMP_QUERY);
        let has_subgroups = device.features().contains(wgpu::Features::SUBGROUP);
        Ok(Self {
            subgroup: if has_subgroups {
                info.subgroup_min_size
            } else {
                0
            },
            tick: has_clock.then(|| queue.get_timestamp_period()),
            device,
            queue,
            summary: AdapterSummary::new(&info),
            fault,
        })
    }

    /// The error that the device reported since it was opened, if any.
    pub(super) fn check(&self) -> Result<()> {
        let fault = self.fault.lock().unwrap_or_else(PoisonError::into_inner);
        fault
            .as_ref()
            .map_or(Ok(()), |fault| Err(self.error(fault)))
    }

    /// An error of this device.
    pub(super) fn error(&self, what: impl std::fmt::Display) -> Error {
        // wgpu explains itself over several lines.
        let what = what
            .to_string()
            .split_whitespace()
            .collect::<Vec<_>>()
            .join(" ");
        Error::Device {
            what: format!("{}: {what}", self.summary.name),
            hint: Some("try a smaller --chunk, or --backend cpu".into()),
        }
    }

    /// Waits until `submission` is done.
    pub(super) fn wait(&self, submission: wgpu::SubmissionIndex) -> Result<()> {
        let wait = wgpu::PollType::Wait {
            submission_index: Some(submission),
            timeout: Some(TIMEOUT),
        };
        self.device.poll(wait).map_err(|error| self.error(error))?;
        self.check()
    }
}
