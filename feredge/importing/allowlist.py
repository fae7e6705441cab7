"""Allowlist of the names in a Keras file. Keras resolves a name by importing it, so all others are refused."""

from __future__ import annotations

MODEL_CLASSES = frozenset({"Functional", "Model", "Sequential"})

LAYER_CLASSES = frozenset(
    [
        "Activation",
        "ActivityRegularization",
        "Add",
        "AdditiveAttention",
        "AlphaDropout",
        "Attention",
        "Average",
        "AveragePooling1D",
        "AveragePooling2D",
        "AveragePooling3D",
        "BatchNormalization",
        "Bidirectional",
        "CenterCrop",
        "Concatenate",
        "Conv1D",
        "Conv1DTranspose",
        "Conv2D",
        "Conv2DTranspose",
        "Conv3D",
        "Conv3DTranspose",
        "ConvLSTM1D",
        "ConvLSTM2D",
        "ConvLSTM3D",
        "Cropping1D",
        "Cropping2D",
        "Cropping3D",
        "Dense",
        "DepthwiseConv1D",
        "DepthwiseConv2D",
        "Dot",
        "Dropout",
        "ELU",
        "EinsumDense",
        "Embedding",
        "Flatten",
        "GRU",
        "GRUCell",
        "GaussianDropout",
        "GaussianNoise",
        "GlobalAveragePooling1D",
        "GlobalAveragePooling2D",
        "GlobalAveragePooling3D",
        "GlobalMaxPooling1D",
        "GlobalMaxPooling2D",
        "GlobalMaxPooling3D",
        "GroupNormalization",
        "Identity",
        "InputLayer",
        "LSTM",
        "LSTMCell",
        "LayerNormalization",
        "LeakyReLU",
        "LocallyConnected1D",
        "LocallyConnected2D",
        "Masking",
        "MaxPooling1D",
        "MaxPooling2D",
        "MaxPooling3D",
        "Maximum",
        "Minimum",
        "MultiHeadAttention",
        "Multiply",
        "Normalization",
        "PReLU",
        "Permute",
        "RNN",
        "RandomBrightness",
        "RandomContrast",
        "RandomCrop",
        "RandomFlip",
        "RandomHeight",
        "RandomRotation",
        "RandomTranslation",
        "RandomWidth",
        "RandomZoom",
        "ReLU",
        "RepeatVector",
        "Rescaling",
        "Reshape",
        "Resizing",
        "SeparableConv1D",
        "SeparableConv2D",
        "SimpleRNN",
        "SimpleRNNCell",
        "Softmax",
        "SpatialDropout1D",
        "SpatialDropout2D",
        "SpatialDropout3D",
        "SpectralNormalization",
        "StackedRNNCells",
        "Subtract",
        "ThresholdedReLU",
        "TimeDistributed",
        "UnitNormalization",
        "UpSampling1D",
        "UpSampling2D",
        "UpSampling3D",
        "ZeroPadding1D",
        "ZeroPadding2D",
        "ZeroPadding3D",
    ]
)

INITIALIZER_NAMES = frozenset(
    [
        "Constant",
        "GlorotNormal",
        "GlorotUniform",
        "HeNormal",
        "HeUniform",
        "Identity",
        "LecunNormal",
        "LecunUniform",
        "Ones",
        "Orthogonal",
        "RandomNormal",
        "RandomUniform",
        "TruncatedNormal",
        "VarianceScaling",
        "Zeros",
        "constant",
        "glorot_normal",
        "glorot_uniform",
        "he_normal",
        "he_uniform",
        "identity",
        "lecun_normal",
        "lecun_uniform",
        "one",
        "ones",
        "orthogonal",
        "random_normal",
        "random_uniform",
        "normal",
        "uniform",
        "truncated_normal",
        "variance_scaling",
        "zero",
        "zeros",
    ]
)
REGULARIZER_NAMES = frozenset(
    ["L1", "L2", "L1L2", "OrthogonalRegularizer", "l1", "l2", "l1_l2", "l1l2", "orthogonal_regularizer"]
)
CONSTRAINT_NAMES = frozenset(
    ["MaxNorm", "MinMaxNorm", "NonNeg", "UnitNorm", "max_norm", "min_max_norm", "non_neg", "unit_norm"]
)
ACTIVATION_NAMES = frozenset(
    [
        "elu",
        "exponential",
        "gelu",
        "hard_sigmoid",
        "hard_silu",
        "hard_swish",
        "leaky_relu",
        "linear",
        "log_softmax",
        "mish",
        "relu",
        "relu6",
        "selu",
        "sigmoid",
        "silu",
        "softmax",
        "softplus",
        "softsign",
        "swish",
        "tanh",
    ]
)
DTYPE_POLICIES = frozenset({"DTypePolicy", "Policy", "FloatDTypePolicy"})
DTYPE_NAMES = frozenset(
    ["float16", "float32", "float64", "bfloat16", "uint8", "int32", "int64", "mixed_float16", "mixed_bfloat16"]
)
MARKER_CLASSES = frozenset(
    {"__keras_tensor__", "__tuple__", "__slice__", "__ellipsis__", "__tensor__", "__numpy__"}  # of constants
)
FUNCTION_LAYERS = frozenset({"TFOpLambda", "SlicingOpLambda"})
"""Layers of Keras 2 that call the TensorFlow function that they name."""
TENSORFLOW_FUNCTIONS = frozenset(
    [
        "__operators__.add",
        "__operators__.getitem",
        "cast",
        "identity",
        "math.add",
        "math.divide",
        "math.multiply",
        "math.sigmoid",
        "math.subtract",
        "math.truediv",
        "nn.bias_add",
        "nn.relu",
        "nn.relu6",
        "nn.sigmoid",
        "nn.silu",
        "nn.softmax",
        "nn.swish",
        "stop_gradient",
    ]
)
OPERATION_CLASSES = FUNCTION_LAYERS | frozenset(
    ["Cast", "Divide", "GetItem", "HardSigmoid", "HardSilu", "Relu", "Relu6", "Sigmoid", "Silu", "Stack", "TrueDivide"]
)
"""Operations between layers; those of Keras 3 are classes."""

MODULE_NAMES = frozenset(
    {"keras"}
    | {
        f"{package}.{name}"
        for package in ("keras", "tf_keras")
        for name in (
            "constraints",
            "dtype_policies",
            "engine.functional",
            "engine.sequential",
            "initializers",
            "layers",
            "layers.core.tf_op_layer",
            "mixed_precision",
            "models",
            "regularizers",
            "src.engine.functional",
            "src.engine.sequential",
            "src.layers.core.tf_op_layer",
            "src.models.functional",
            "src.models.sequential",
            "src.ops.core",
            "src.ops.nn",  # Keras 3 operations such as `x + y`, with the same names as layers
            "src.ops.numpy",
        )
    }
)
