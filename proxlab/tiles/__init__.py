"""Large pictures: cut into tiles that overlap by what the method's answer is seen to depend on."""
