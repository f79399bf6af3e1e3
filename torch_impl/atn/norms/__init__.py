"""The norms that a recurrent layer can have, one file each; `registry` names them."""
