//! One GPU as the ops see it: arrays, launches by name, matrix products.

#![expect(unsafe_code, reason = "launches of kernels, calls of cuBLAS, arrays that kernels fill")]

use std::collections::HashMap;
use std::fmt;
use std::marker::PhantomData;
use std::sync::{Arc, Mutex, PoisonError};

use candle_core::backend::BackendStorage;
use candle_core::cuda_backend::WrapErr;
use candle_core::cuda_backend::cudarc::driver::result as driver;
use candle_core::cuda_backend::cudarc::driver::{
    CudaEvent, CudaFunction, CudaModule, CudaSlice, CudaStream, DevicePtr, LaunchConfig, PushKernelArg, sys,
};
use candle_core::cuda_backend::cudarc::nvrtc::Ptx;
use candle_core::op::BackpropOp;
use candle_core::{
    CudaDevice, CudaStorage, DType, Device, Error, Layout, Result, Shape, Storage, StorageRef, Tensor,
};
use half::bf16;

/// The kernels of each `.cu` file, compiled by the build script, and how their names begin; a name is the first file's that fits.
const MODULES: [(&[&str], &[u8]); 9] = [
    (&["layer_norm"], include_bytes!(concat!(env!("OUT_DIR"), "/layer_norm.fatbin"))),
    (&["conv_", "merge_", "split_"], include_bytes!(concat!(env!("OUT_DIR"), "/grouped_conv2d.fatbin"))),
    (&["neighbour_"], include_bytes!(concat!(env!("OUT_DIR"), "/neighbours.fatbin"))),
    (&["adam", "add_all"], include_bytes!(concat!(env!("OUT_DIR"), "/optimiser.fatbin"))),
    (
        &["attention_f32", "attention_products_f32"],
        include_bytes!(concat!(env!("OUT_DIR"), "/attention_f32.fatbin")),
    ),
    (&["attention_one"], include_bytes!(concat!(env!("OUT_DIR"), "/attention_one.fatbin"))),
    (&["attention_hopper"], include_bytes!(concat!(env!("OUT_DIR"), "/attention_hopper.fatbin"))),
    (&["attention_", "sum_to_bf16"], include_bytes!(concat!(env!("OUT_DIR"), "/attention_bf16.fatbin"))),
    (&[""], include_bytes!(concat!(env!("OUT_DIR"), "/rows.fatbin"))),
];

/// Bytes of shared memory that each block has beside its kernel's.
const SHARED_OF_THE_DRIVER: usize = 1024;

/// Kernels loaded onto one GPU.
struct Loaded {
    modules: Vec<Arc<CudaModule>>,
    functions: Mutex<HashMap<&'static str, CudaFunction>>,
    n_multiprocessors: u32,
    /// Compute capability 9.0: the chip that `attention_hopper.cu` is for.
    is_hopper: bool,
    /// Bytes of shared memory that a block may have.
    most_shared: usize,
    /// Bytes of shared memory of a multiprocessor.
    shared_of_multiprocessor: usize,
}

/// By ordinal of the GPU: its primary context, in which they are loaded, lives as long as the process.
static LOADED: Mutex<Vec<(usize, Arc<Loaded>)>> = Mutex::new(Vec::new());

/// A device and its stream.
#[derive(Clone)]
pub(super) struct Gpu {
    pub(super) device: CudaDevice,
    stream: Arc<CudaStream>,
    loaded: Arc<Loaded>,
}

/// An argument of a kernel.
#[derive(Debug, Clone, Copy)]
pub(super) enum Arg {
    U64(u64),
    U32(u32),
    I32(i32),
    F32(f32),
}

impl Arg {
    /// A null pointer.
    pub(super) const NONE: Self = Self::U64(0);
}

impl From<View<'_>> for Arg {
    fn from(view: View<'_>) -> Self {
        Self::U64(view.address)
    }
}

impl From<&Array> for Arg {
    fn from(array: &Array) -> Self {
        array.view().into()
    }
}

impl<T: Into<Arg>> From<Option<T>> for Arg {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::NONE, Into::into)
    }
}

/// Numbers in the memory of a GPU.
#[derive(Debug)]
pub(super) enum Array {
    F32(CudaSlice<f32>),
    Bf16(CudaSlice<bf16>),
}

/// Where numbers lie, for as long as their owner is borrowed. Kernels write through it, too: launches on one stream run one
/// after the other, so what is enqueued sees what was enqueued before. (An array of the stream of copies is nobody's but theirs.)
#[derive(Debug, Clone, Copy)]
pub(super) struct View<'a> {
    pub(super) address: u64,
    pub(super) dtype: DType,
    owner: PhantomData<&'a ()>,
}

impl<'a> View<'a> {
    /// Whether `other` begins right after the first `n` elements of this.
    pub(super) fn is_followed(&self, n: usize, other: Self) -> bool {
        self.dtype == other.dtype && self.from(n).address == other.address
    }

    /// The same without its first elements.
    pub(super) fn from(self, n_elements: usize) -> Self {
        Self { address: self.address + (n_elements * self.dtype.size_in_bytes()) as u64, ..self }
    }
}

impl Array {
    pub(super) fn view(&self) -> View<'_> {
        let (address, dtype) = match self {
            Self::F32(slice) => (slice.device_ptr(slice.stream()).0, DType::F32),
            Self::Bf16(slice) => (slice.device_ptr(slice.stream()).0, DType::BF16),
        };
        View { address, dtype, owner: PhantomData }
    }

    pub(super) fn into_storage(self, gpu: &Gpu) -> CudaStorage {
        match self {
            Self::F32(slice) => CudaStorage::wrap_cuda_slice(slice, gpu.device.clone()),
            Self::Bf16(slice) => CudaStorage::wrap_cuda_slice(slice, gpu.device.clone()),
        }
    }

    /// The same numbers as a tensor without a graph.
    pub(super) fn into_tensor(self, gpu: &Gpu, shape: impl Into<Shape>) -> Tensor {
        Tensor::from_storage(Storage::Cuda(self.into_storage(gpu)), shape, BackpropOp::none(), false)
    }
}

/// A contiguous tensor, locked for reading.
pub(super) struct Input<'a> {
    storage: StorageRef<'a>,
    layout: &'a Layout,
}

impl<'a> Input<'a> {
    pub(super) fn of(tensor: &'a Tensor) -> Self {
        let (storage, layout) = tensor.storage_and_layout();
        Self { storage, layout }
    }

    pub(super) fn view(&self) -> Result<View<'_>> {
        match &*self.storage {
            Storage::Cuda(storage) => View::of(storage, self.layout),
            _ => Err(Error::Msg("a kernel on a GPU got a tensor that lies elsewhere".to_owned())),
        }
    }
}

impl<'a> View<'a> {
    /// The values of a contiguous tensor.
    pub(super) fn of(storage: &'a CudaStorage, layout: &Layout) -> Result<Self> {
        let (start, _) = layout
            .contiguous_offsets()
            .ok_or_else(|| Error::Msg("kernel input is not contiguous in memory".to_owned()))?;
        let dtype = storage.dtype();
        let address = match dtype {
            DType::F32 => address(storage.as_cuda_slice::<f32>()?),
            DType::BF16 => address(storage.as_cuda_slice::<bf16>()?),
            dtype => return Err(super::super::unsupported_dtype("a kernel on a GPU", dtype)),
        };
        Ok(View { address, dtype, owner: PhantomData }.from(start))
    }
}

fn address<T>(slice: &CudaSlice<T>) -> u64 {
    slice.device_ptr(slice.stream()).0
}

impl fmt::Debug for Gpu {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Gpu").field(&self.device).finish()
    }
}

impl Gpu {
    /// # Errors
    /// If `device` is not a GPU, or the kernels don't run on it.
    pub(super) fn of(device: &Device) -> Result<Self> {
        match device {
            Device::Cuda(device) => Self::new(device),
            _ => Err(Error::Msg("a kernel on a GPU got a tensor that lies elsewhere".to_owned())),
        }
    }

    pub(super) fn new(device: &CudaDevice) -> Result<Self> {
        let stream = device.cuda_stream();
        let ordinal = stream.context().ordinal();
        let mut loaded = LOADED.lock().unwrap_or_else(PoisonError::into_inner);
        let found = loaded.iter().find(|(at, _)| *at == ordinal).map(|(_, loaded)| Arc::clone(loaded));
        let loaded = match found {
            Some(found) => found,
            None => {
                let new = Arc::new(Loaded::onto(&stream)?);
                loaded.push((ordinal, Arc::clone(&new)));
                new
            }
        };
        Ok(Self { device: device.clone(), stream, loaded })
    }

    /// A stream for work beside that of all ops.
    pub(super) fn another_stream(&self) -> Result<Arc<CudaStream>> {
        self.stream.context().new_stream().w()
    }

    /// An array of another stream, from `ready` on: what is asked for from now on waits for that, and the array is freed in the order
    /// of this stream.
    pub(super) fn adopt(&self, array: Array, ready: &CudaEvent) -> Result<Array> {
        self.stream.wait(ready).w()?;
        Ok(match array {
            Array::F32(slice) => Array::F32(self.own(slice)),
            Array::Bf16(slice) => Array::Bf16(self.own(slice)),
        })
    }

    fn own<T>(&self, slice: CudaSlice<T>) -> CudaSlice<T> {
        let n = slice.len();
        // SAFETY: the address is of an array of as many, which nobody else frees from here on.
        unsafe { self.stream.upgrade_device_ptr(slice.leak(), n) }
    }

    pub(super) fn n_multiprocessors(&self) -> usize {
        self.loaded.n_multiprocessors as usize
    }

    /// Whether a block may have so many bytes of shared memory.
    pub(super) fn has_shared(&self, n_bytes: usize) -> bool {
        n_bytes <= self.loaded.most_shared
    }

    /// Blocks with so many bytes of shared memory that a multiprocessor holds at once, were it for these bytes alone.
    pub(super) fn blocks_with_shared(&self, n_bytes: usize) -> usize {
        self.loaded.shared_of_multiprocessor / (n_bytes + SHARED_OF_THE_DRIVER)
    }

    pub(super) fn is_hopper(&self) -> bool {
        self.loaded.is_hopper
    }

    /// An array whose contents are unspecified until something writes them.
    pub(super) fn array(&self, n_elements: usize, dtype: DType) -> Result<Array> {
        // SAFETY: every op writes all elements of an array before anything reads them.
        unsafe {
            match dtype {
                DType::BF16 => Ok(Array::Bf16(self.device.alloc(n_elements.max(1))?)),
                _ => Ok(Array::F32(self.device.alloc(n_elements.max(1))?)),
            }
        }
    }

    pub(super) fn zeros(&self, n_elements: usize) -> Result<Array> {
        Ok(Array::F32(self.device.alloc_zeros(n_elements.max(1))?))
    }

    /// Writes zeros over the first `n` elements.
    pub(super) fn clear(&self, view: View<'_>, n: usize) -> Result<()> {
        let n_bytes = n * view.dtype.size_in_bytes();
        // SAFETY: the view begins an array of at least `n` elements, which lives until this is enqueued.
        unsafe { driver::memset_d8_async(view.address, 0, n_bytes, self.stream.cu_stream()) }.w()
    }

    /// The first `n` elements of `from` to `to`, of the same type.
    pub(super) fn copy(&self, from: View<'_>, to: View<'_>, n: usize) -> Result<()> {
        if n == 0 {
            return Ok(());
        }
        let n_bytes = n * from.dtype.size_in_bytes();
        // SAFETY: both views begin arrays of at least `n` elements of one type, which live until this is enqueued.
        unsafe { driver::memcpy_dtod_async(to.address, from.address, n_bytes, self.stream.cu_stream()) }.w()
    }

    /// A copy of what the host holds.
    pub(super) fn upload<T: candle_core::cuda_backend::cudarc::driver::DeviceRepr>(
        &self,
        values: &[T],
    ) -> Result<CudaSlice<T>> {
        self.stream.clone_htod(values).w()
    }

    /// Where an array of anything lies.
    pub(super) fn address_of<T>(&self, slice: &CudaSlice<T>) -> Arg {
        Arg::U64(address(slice))
    }

    /// Enqueues the kernel called `name` with `shared` bytes of dynamic shared memory per block.
    pub(super) fn launch(
        &self,
        name: &'static str,
        (grid_dim, block_dim): ([usize; 3], [u32; 3]),
        shared: usize,
        args: &[Arg],
    ) -> Result<()> {
        let function = self.loaded.function(name)?;
        if !self.has_shared(shared) {
            return Err(Error::Msg(format!(
                "kernel `{name}` takes {shared} bytes of shared memory, of which a block has {} on this GPU; docs/cuda.md says which \
                 GPUs these kernels are for",
                self.loaded.most_shared
            )));
        }
        let mut builder = self.stream.launch_builder(&function);
        for arg in args {
            match arg {
                Arg::U64(value) => builder.arg(value),
                Arg::U32(value) => builder.arg(value),
                Arg::I32(value) => builder.arg(value),
                Arg::F32(value) => builder.arg(value),
            };
        }
        let grid = grid_dim.map(|blocks| blocks as u32);
        let config = LaunchConfig {
            grid_dim: grid.into(),
            block_dim: block_dim.into(),
            shared_mem_bytes: shared as u32,
        };
        // SAFETY: the arguments are those of the kernel's declaration in its `.cu` file, in its order; addresses are of arrays
        // that live until the launch is enqueued, and are freed in the order of the stream, after it has run.
        unsafe { builder.launch(config) }.w()?;
        Ok(())
    }
}

impl Loaded {
    fn onto(stream: &Arc<CudaStream>) -> Result<Self> {
        let context = stream.context();
        let load = |bytes: &[u8]| context.load_module(Ptx::from_binary(bytes.to_vec()));
        use sys::CUdevice_attribute_enum as attribute;
        Ok(Self {
            modules: MODULES
                .iter()
                .map(|(_, bytes)| load(bytes))
                .collect::<std::result::Result<_, _>>()
                .w()?,
            functions: Mutex::default(),
            n_multiprocessors: context.attribute(attribute::CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT).w()?
                as u32,
            is_hopper: context.compute_capability().w()? == (9, 0),
            most_shared: context
                .attribute(attribute::CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN)
                .w()? as usize,
            shared_of_multiprocessor: context
                .attribute(attribute::CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_MULTIPROCESSOR)
                .w()? as usize,
        })
    }

    fn function(&self, name: &'static str) -> Result<CudaFunction> {
        let mut functions = self.functions.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(function) = functions.get(name) {
            return Ok(function.clone());
        }
        let fits = |(names, _): &(&[&str], &[u8])| names.iter().any(|start| name.starts_with(start));
        let module = MODULES.iter().position(fits).and_then(|at| self.modules.get(at));
        let unknown = || Error::Msg(format!("no kernel `{name}` among the CUDA kernels"));
        let function = match module.ok_or_else(unknown)?.load_function(name) {
            Err(error) if error.0 == sys::CUresult::CUDA_ERROR_NOT_FOUND => return Err(unknown()),
            // A driver that finds no memory, or that failed before.
            loaded => loaded.w()?,
        };
        let most = sys::CUfunction_attribute_enum::CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES;
        // Blocks get more than 48 KiB only if the kernel says so; what the kernel declares itself counts towards the limit.
        let own = function.shared_size_bytes().w()?;
        function.set_attribute(most, self.most_shared as i32 - own).w()?;
        functions.insert(name, function.clone());
        Ok(function)
    }
}
