"""What PyInstaller does not see: names that feredge imports by text, the network that comes with it, OpenCV's cascades.

The device side only: a program with TensorFlow in it names its own modules.
"""

from PyInstaller.utils.hooks import collect_data_files, collect_submodules, copy_metadata

hiddenimports = [
    *collect_submodules("feredge.inference"),
    *collect_submodules("feredge.label", filter=lambda name: not name.endswith("ray_engine")),
    *("feredge.api.labelling", "feredge.api.predicting", "feredge.api.predictor_options", "feredge.api.tracking"),
]
excludedimports = ["ray", "tensorflow", "tf_keras", "torch"]
datas = [
    *collect_data_files("feredge", includes=["models/*"]),
    *collect_data_files("cv2", includes=["data/*frontalface_default.xml"]),
    *copy_metadata("feredge"),
]
