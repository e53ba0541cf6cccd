// What this machine's native module and program are called, in files and packages.
const { platform, arch } = process;
const abi = { linux: "-gnu", win32: "-msvc" }[platform] ?? "";

export const here = {
  module: `${platform}-${arch}${abi}`,
  program: `local-${platform}-${arch}`,
};
