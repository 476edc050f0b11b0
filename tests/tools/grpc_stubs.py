"""Python's classes for the API, made from its schemas by grpcio's own generator."""
import importlib
import pathlib
import sys

import grpc_tools
from grpc_tools import protoc

ROOT = pathlib.Path(__file__).resolve().parents[2]


def generate(folder):
    """The modules of heimdall.proto and cluster.proto and of their services: four of them."""
    folder = pathlib.Path(folder)
    folder.mkdir(exist_ok=True)
    code = protoc.main(["protoc", f"-I{ROOT}/proto", f"-I{pathlib.Path(grpc_tools.__file__).parent}/_proto",
                        f"--python_out={folder}", f"--grpc_python_out={folder}", "heimdall.proto", "cluster.proto"])
    assert code == 0
    sys.path.insert(0, str(folder))
    return [importlib.import_module(name)
            for name in ("heimdall_pb2", "heimdall_pb2_grpc", "cluster_pb2", "cluster_pb2_grpc")]
